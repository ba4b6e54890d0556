"""Timing works side by side: rounds interleaved, so that whatever else the machine does meets all of them."""

import time
from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
"""Clocks in seconds."""

Work = Callable[[], object]
Seconds = Mapping[str, Sequence[float]]
"""Of each work, by name: the seconds of every round."""


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of what the rounds gave."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Summarise one value a round."""
        low, median, high = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
        return cls(low, median, high)

    def __str__(self) -> str:
        return f"{self.median:.3f} ({self.low:.3f} to {self.high:.3f})"


def parser(description: str, rounds: int) -> ArgumentParser:
    """Return a parser of the options that every benchmark has but `--size`.

    Args:
        description: What is measured.
        rounds: Default number of rounds.
    """
    made = ArgumentParser(description=description, formatter_class=ArgumentDefaultsHelpFormatter)
    made.add_argument("--rounds", type=int, default=rounds, help="times that everything is measured")
    made.add_argument("--threads", type=int, default=1, help="threads of torch")
    made.add_argument(
        "--clock", default="wall", choices=list(CLOCKS), help="cpu: of this process alone, for busy machines"
    )
    made.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="where the networks are")
    return made


def parse(made: ArgumentParser, arguments: Sequence[str] | None) -> Namespace:
    """Read the command line and pin torch to as many threads as it says."""
    options = made.parse_args(arguments)
    torch.set_num_threads(options.threads)
    return options


def interleave(works: Mapping[str, Work], options: Namespace) -> dict[str, list[float]]:
    """Time every work once a round, A B A B, after one untimed call of each.

    Args:
        works: What is timed, by name.
        options: From the command line: `rounds`, and `clock`, one of `CLOCKS`.

    Returns:
        Seconds of each work, a number a round.
    """
    for work in works.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(options.rounds):
        for name, work in works.items():
            seconds[name].append(_time(work, CLOCKS[options.clock]))
    return seconds


def ratio(seconds: Seconds, name: str, base: str) -> Spread:
    """Return how many times as long as `base` a work took, each round by itself."""
    return Spread.of([one / other for one, other in zip(seconds[name], seconds[base], strict=True)])


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table in Markdown, each row as it comes."""
    for cells in chain((columns, ["---"] * len(columns)), rows):
        print("|", " | ".join(map(str, cells)), "|", flush=True)


def _time(work: Work, clock: Callable[[], float]) -> float:
    finish()
    start = clock()
    work()
    finish()
    return clock() - start


def finish() -> None:
    """Wait for what a GPU has yet to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
