import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from dds.errors import InputError
from dds.results.samples import merge_parts, write_parquet


class RunFolder:
    """`runs/<experiment>/<name>/`: where everything that a run leaves is written.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parts = path / "parts"
        self.figures = path / "figures"
        self.samples = path / "samples.parquet"
        self.votes = path / "votes.parquet"
        self.summary = path / "summary.json"
        self.config = path / "config.yaml"
        self.examples = path / "examples.npz"
        self._made = False

    def create(self) -> None:
        """Make the folder.

        Raises:
            InputError: If it holds a run already or cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if any(self.path.iterdir()):
                raise InputError(f"{self.path} is not empty. Give another --name, or remove the folder.")
            self.parts.mkdir()
            self.figures.mkdir()
            self._made = True
        except OSError as error:
            raise InputError(
                f"the run folder {self.path} cannot be written: {error}. Name a writable place with --runs."
            ) from error

    def discard_if_unused(self) -> None:
        """Remove the folder if this run made it and measured nothing."""
        if self._made and self.parts.is_dir() and not any(self.parts.iterdir()):
            shutil.rmtree(self.path)

    def merge(self, conditions: list[str]) -> None:
        """Turn the parts that all processes wrote into `samples.parquet` and `votes.parquet`."""
        parts = sorted(self.parts.glob("*.parquet"))
        samples, votes = merge_parts(parts, conditions)
        write_parquet(samples, self.samples)
        if votes is not None:
            write_parquet(votes, self.votes)
        for part in parts:
            part.unlink()
        self.parts.rmdir()

    def read_tables(self) -> tuple[Any, Any]:
        """Return the samples and the votes (None where there are none)."""
        return pq.read_table(self.samples), pq.read_table(self.votes) if self.votes.exists() else None

    def write_text(self, path: Path, text: str) -> None:
        """Write a file so that one of this name is always whole."""
        partial = path.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(text)
        partial.replace(path)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write `summary.json`."""
        self.write_text(self.summary, json.dumps(summary, indent=1, allow_nan=False))

    def read_summary(self) -> dict[str, Any]:
        """Read `summary.json`."""
        return json.loads(self.summary.read_text())  # type: ignore[no-any-return]
