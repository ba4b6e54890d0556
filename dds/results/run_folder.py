import json
import os
import shutil
from collections.abc import Mapping
from difflib import unified_diff
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import yaml

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
            InputError: If it holds a run already, or cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if any(self.path.iterdir()):
                raise InputError(
                    f"{self.path} is not empty. Give another --name, or go on with that run by --resume."
                )
            self.parts.mkdir()
            self.figures.mkdir()
            self._made = True
        except OSError as error:
            raise InputError(
                f"the run folder {self.path} cannot be written: {error}. Name a writable place with --runs."
            ) from error

    def check_same_work(self, config: str) -> None:
        """Refuse to go on with a run of another task, data set or protocol.

        Args:
            config: The configuration now, as in `config.yaml`.

        Raises:
            InputError: Showing the difference.
        """
        if not self.config.is_file():
            raise InputError(
                f"{self.path} holds no run to go on with. Leave --resume out, or give its --name."
            )
        before, now = (_work(text).splitlines() for text in (self.config.read_text(), config))
        if before != now:
            changes = "\n".join(unified_diff(before, now, "before", "now", n=1, lineterm=""))
            raise InputError(f"{self.path} was started with another configuration:\n{changes}")

    def finished_images(self) -> set[int]:
        """Return the indices of the images that are measured under every condition."""
        if self.samples.is_file():
            return set(pq.read_table(self.samples, columns=["index"])["index"].to_pylist())
        parts = (pq.read_table(part, columns=["index"]) for part in self.parts.glob("*.parquet"))
        return {index for part in parts for index in part["index"].to_pylist()}

    def discard_if_unused(self) -> None:
        """Remove the folder if this run made it and measured nothing."""
        if self._made and self.parts.is_dir() and not any(self.parts.iterdir()):
            shutil.rmtree(self.path)

    def merge(self, conditions: list[str]) -> None:
        """Turn the parts that all processes wrote into `votes.parquet` and, last, `samples.parquet`."""
        if not self.samples.is_file():
            samples, votes = merge_parts(sorted(self.parts.glob("*.parquet")), conditions)
            if votes is not None:
                write_parquet(votes, self.votes)
            write_parquet(samples, self.samples)
        shutil.rmtree(self.parts, ignore_errors=True)

    def read_tables(self) -> tuple[Any, Any]:
        """Return the samples and the votes (None where there are none)."""
        return pq.read_table(self.samples), pq.read_table(self.votes) if self.votes.exists() else None

    def write_text(self, path: Path, text: str) -> None:
        """Write a file so that one of this name is always whole."""
        partial = path.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(text)
        partial.replace(path)

    def write_examples(self, examples: Mapping[str, Any]) -> None:
        """Write `examples.npz`."""
        partial = self.examples.with_suffix(".partial.npz")
        np.savez_compressed(partial, **examples)
        partial.replace(self.examples)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write `summary.json`."""
        self.write_text(self.summary, json.dumps(summary, indent=1, allow_nan=False))

    def read_summary(self) -> dict[str, Any]:
        """Read `summary.json`."""
        return json.loads(self.summary.read_text())  # type: ignore[no-any-return]


def _work(config: str) -> str:
    """Return what of a configuration decides the results."""
    settings = yaml.safe_load(config)
    for harmless in ("batch_size", "num_workers"):
        settings["data"]["init_args"].pop(harmless, None)
    return yaml.safe_dump({part: settings[part] for part in ("task", "data", "protocol")})
