"""What it takes to start: CPU time of fresh processes over that of `import torch, lightning`."""

import os
import subprocess
import sys
from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from benchmarks.paired import print_table, ratio

EVALUATE = str(Path(__file__).parents[1] / "evaluate.py")
BASE = "import torch, lightning"
STARTS = {
    BASE: ["-c", BASE],
    "import torch": ["-c", "import torch"],
    "import dds": ["-c", "import dds"],
    "--help": [EVALUATE, "--help"],
    "misspelt option": [EVALUATE, "--config=seg_scenes.yaml", "--protocl.draws=2"],
    "--plan": [EVALUATE, "--config=seg_scenes.yaml", "--plan"],
}
"""What Python is given, by its name in the table."""


def measure(start: Sequence[str]) -> float:
    """Return the CPU seconds of a fresh process."""
    before = _of_children()
    done = subprocess.run([sys.executable, *start], capture_output=True, text=True)
    if "Traceback" in done.stderr:
        raise RuntimeError(done.stderr)
    return _of_children() - before


def _of_children() -> float:
    """Return the CPU seconds of all processes that this one has waited for."""
    times = os.times()
    return times.children_user + times.children_system


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the ratios of times; every round measures each start in a process of its own."""
    made = ArgumentParser(description=__doc__, formatter_class=ArgumentDefaultsHelpFormatter)
    made.add_argument("--rounds", type=int, default=4, help="times that everything is measured")
    options = made.parse_args(arguments)
    seconds: dict[str, list[float]] = {name: [] for name in STARTS}
    for _ in range(options.rounds):
        for name, start in STARTS.items():
            seconds[name].append(measure(start))
    rows = [[name, ratio(seconds, name, BASE)] for name in STARTS if name != BASE]
    print_table(["start", f"/ {BASE}"], rows)


if __name__ == "__main__":
    main()
