"""The files of a run."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

from dds.errors import InputError
from dds.runs.board import Board, FolderBoard
from dds.runs.claims import Lease
from dds.runs.merging import TemporaryFolder, lay_out
from dds.runs.same_work import DIGEST
from dds.runs.samples import Samples
from dds.whole_file import whole_file


class RunFiles:
    """The files of a run, by their names, in a folder that all machines see.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parts = path / "parts"
        self.figures = path / "figures"
        self.samples = path / "samples.parquet"
        self.votes = path / "votes.parquet"
        self.certificates = path / "certificates.parquet"
        self.summary = path / "summary.json"
        self.config = path / "config.yaml"
        self.plan = path / "plan.json"
        self.report = path / "report.html"
        self.classes = path / "class_iou.csv"
        self.examples = path / "examples.npz"
        self.wandb = path / "wandb"
        self.attacked = path / "attacked"

    # How other machines see them: here at once, of a run on object storage when they are sent

    @property
    def place(self) -> str:
        """The folder, as users name it."""
        return str(self.path)

    @property
    def full_place(self) -> str:
        """The same from the root on, without links."""
        return self.path.resolve().as_posix()

    def show(self, path: Path) -> str:
        """Return a file of the folder, as users name it."""
        return str(path)

    def check(self, claims: bool = False) -> None:
        """Refuse a place that cannot be used, before anything is built.

        Args:
            claims: Whether jobs are to claim images there.

        Raises:
            InputError: If it cannot.
        """

    def look(self) -> None:
        """Have here what other jobs have left since."""

    def fetch(self, *paths: Path) -> None:
        """Have here files that `look` leaves where they are."""

    def has(self, path: Path) -> bool:
        """Tell whether a file is there, be it here or not."""
        return path.exists()

    def send(self, *paths: Path) -> None:
        """Have others see files, which are whole."""

    def publish(self) -> None:
        """Have others see all that has changed, the tables before the summary."""

    def close(self) -> None:
        """Save what is of use though the job was cut."""

    def board(self) -> Board:
        """Return where jobs claim images."""
        return FolderBoard(self.parts)

    def lock(self, path: Path) -> FileLock | Lease:
        """Return what only one job can hold, for a file."""
        return FileLock(f"{path}.lock", thread_local=False)

    def is_open(self) -> bool:
        """Tell whether there is a place for parts: that nobody has merged them."""
        return self.parts.is_dir()

    def name_part(self, nameless: Path, path: Path) -> None:
        """Give a part, which has been sent, the name by which it counts."""
        nameless.replace(path)

    def drop(self, path: Path) -> None:
        """Remove a file, if it is there."""
        path.unlink(missing_ok=True)

    # What they hold

    def part_files(self) -> list[Path]:
        """Return the tables that are not merged."""
        return sorted(self.parts.glob("*.parquet"))

    def open_tables(self, conditions: Sequence[str] = ()) -> tuple[Samples, Samples | None]:
        """Return what reads the samples and the votes by condition (None where there are none).

        Args:
            conditions: Keys of a run that is not merged, whose parts are laid out in a temporary folder.

        Raises:
            InputError: If there is nothing, or it is damaged.
        """
        if self.samples.is_file() or not (parts := self.part_files()):
            return Samples(self.samples), Samples(self.votes) if self.votes.exists() else None
        return lay_out(parts, conditions, TemporaryFolder())

    def read_config(self) -> dict[str, Any]:
        """Read `config.yaml`.

        Raises:
            InputError: If it is missing, or not a run's.
        """
        try:
            config: Any = yaml.safe_load(self.config.read_text())
            _ = config["task"]["class_path"], config["data"]["class_path"], config["protocol"]["seed"]
        except (OSError, UnicodeDecodeError, yaml.YAMLError, LookupError, TypeError) as error:
            raise InputError(
                f"{self.config} is not the configuration of a run ({type(error).__name__}: {error}). "
                "Restore it, or evaluate again into a folder of its own."
            ) from error
        return dict(config)

    def read_digest(self) -> str | None:
        """Return what tells the run's images from others; None of a version that did not know it."""
        lines = self.config.read_text().splitlines()
        found = [line.removeprefix(DIGEST).strip() for line in lines if line.startswith(DIGEST)]
        return found[0] if found else None

    def write_text(self, path: Path, text: str) -> None:
        """Write a file so that one of this name is always whole."""
        with whole_file(path) as file:
            file.write(text.encode())
        self.send(path)

    def write_plan(self, plan: Mapping[str, Any]) -> None:
        """Write `plan.json`, which is there until the run is finished: what a report of it is made of."""
        self.write_text(self.plan, json.dumps(plan, indent=1))

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write `summary.json`, which holds what the plan does."""
        self.write_text(self.summary, json.dumps(summary, indent=1, allow_nan=False))
        self.drop(self.plan)

    def read_summary(self) -> dict[str, Any]:
        """Read `summary.json`."""
        return json.loads(self.summary.read_text())  # type: ignore[no-any-return]
