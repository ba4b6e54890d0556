"""The parser that both programs build upon."""

from difflib import get_close_matches
from pathlib import Path
from typing import Any

from jsonargparse import ActionConfigFile, ArgumentParser, Namespace

from dds.errors import InputError

Arguments = list[str] | None
"""Command-line arguments; None: those of the process."""

CONFIGS = Path(__file__).parents[2] / "configs"


class _ConfigByName(ActionConfigFile):  # type: ignore[misc]
    """Reads a YAML given by its path, or by its bare name in `configs/`."""

    def __call__(self, parser: Any, cfg: Any, values: str, option: Any = None) -> None:
        super().__call__(parser, cfg, str(find_config(values)), option)


def find_config(name: str) -> Path:
    """Return a YAML file given by its path or by its name in `configs/`.

    Raises:
        InputError: If there is none; the message lists what there is.
    """
    for path in (Path(name).expanduser(), CONFIGS / name, CONFIGS / f"{name}.yaml"):
        if path.is_file():
            return path
    paths = (path.relative_to(CONFIGS) for path in CONFIGS.rglob("*.yaml"))
    shipped = sorted(str(path) for path in paths if path.parts[0] != "sweep")  # those are W&B's
    close = "".join(f" Did you mean {like}?" for like in get_close_matches(name, shipped, n=1))
    raise InputError(f"there is no config {name!r}; expected a path, or one of {', '.join(shipped)}.{close}")


class Parser(ArgumentParser):  # type: ignore[misc]
    """Says what is wrong without the names of all options, which would hide it."""

    def print_usage(self, file: Any = None) -> None:
        """Leave it to `--help`."""


def make_parser(description: str) -> ArgumentParser:
    """Return a parser that reads YAML files by `--config`."""
    parser = Parser(description=description)
    parser.add_argument(
        "--config",
        action=_ConfigByName,
        help="A YAML file: a path, or a name in configs/. Repeatable; later wins.",
    )
    return parser


def stem(config: Namespace) -> str:
    """Return what a run is named after: its configs."""
    return "+".join(Path(str(path)).stem for path in config.config or ["run"])
