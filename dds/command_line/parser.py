"""The parser that all commands build upon."""

import sys
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ActionConfigFile, ArgumentParser, Namespace

from dds.command_line.factories import admit_factories
from dds.command_line.help import BriefFormatter, help_of, wanted_help
from dds.command_line.importing import import_from
from dds.command_line.nearest import did_you_mean
from dds.command_line.program import program
from dds.errors import InputError

Arguments = list[str] | None
"""Command-line arguments; None: those of the process."""

_INSTALLED = Path(__file__).parents[1] / "configs"

CONFIGS = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2] / "configs"
"""The YAMLs that come with the package: inside it where it is installed, beside it in a checkout."""


admit_factories()


class _ConfigByName(ActionConfigFile):  # type: ignore[misc]
    """Reads a YAML given by its path, or by its bare name in `configs/`."""

    def __call__(self, parser: Any, cfg: Any, values: str, option: Any = None) -> None:
        path = find_config(values)
        _check_names(_read_yaml(path), {action.dest for action in parser._actions}, path)
        import_from(path.parent)
        super().__call__(parser, cfg, str(path), option)


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
    close = did_you_mean(name, shipped)
    raise InputError(f"there is no config {name!r}.{close} Expected a path, or one of {', '.join(shipped)}.")


def _read_yaml(path: Path) -> dict[str, Any]:
    """Read settings; refuse what is no YAML of any, by the line where it goes wrong."""
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{path}{line}: {error.problem}; expected YAML, indented by spaces.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no settings; expected task, data, protocol or some of them.")
    return content


def _check_names(settings: dict[str, Any], options: set[str], path: Path, above: str = "") -> None:
    """Refuse names below which there is nothing and that no option has: jsonargparse passes them over."""
    groups = {option.rpartition(".")[0] for option in options}
    allowed = {option.removeprefix(above).partition(".")[0] for option in options if option.startswith(above)}
    for name, value in settings.items():
        if value == {} and name not in allowed:
            close = did_you_mean(str(name), allowed)
            raise InputError(f"{path}: there is no setting {above}{name}.{close}")
        if isinstance(value, dict) and f"{above}{name}" in groups:
            _check_names(value, options, path, f"{above}{name}.")


_MORE = (
    "Settings of a YAML are options by their path, as --data.limit=8. Where a class is named, "
    "--task.help lists what there is, and --task.help=Classification explains one; likewise for every other "
    "setting, as --task.model.help=timm.create_model. --debug shows where an error comes from."
)

_OPTIONS: dict[str, Any] = {"allow_abbrev": False, "formatter_class": BriefFormatter}


class Parser(ArgumentParser):  # type: ignore[misc]
    """Takes options by their whole names alone, and raises what is wrong for `plainly` to say."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**_OPTIONS, **options, "exit_on_error": False})

    def add_function_arguments(self, *args: Any, **options: Any) -> Any:
        """Take also what a function does not say the type of."""
        return super().add_function_arguments(*args, **{**options, "fail_untyped": False})

    def parse_args(self, args: Any = None, *others: Any, **options: Any) -> Namespace:
        """Parse arguments; where one asks for help on a class, print that and exit."""
        if wanted := wanted_help(sys.argv[1:] if args is None else args):
            print(help_of(self, *wanted))
            self.exit()
        return super().parse_args(args, *others, **options)


def make_parser(description: str, command: str) -> ArgumentParser:
    """Return the parser of a command, which reads YAML files by `--config`."""
    import_from(Path.cwd())
    usage = "%(prog)s --config NAME [--setting=value …]"
    parser = Parser(prog=program(command), usage=usage, description=f"{description} {_MORE}")
    parser.add_argument(
        "--config",
        action=_ConfigByName,
        help="A YAML file: a path, or the name of one that comes with dds. Repeatable; later wins.",
    )
    return parser


def stem(config: Namespace) -> str:
    """Return what a run is named after: its configs."""
    return "+".join(Path(str(path)).stem for path in config.config or ["run"])
