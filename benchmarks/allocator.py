"""What two settings of glibc's allocator buy an evaluation on CPUs: freed memory is kept, not returned."""

import os
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Sequence

from benchmarks.paired import parse, parser, print_table, ratio
from benchmarks.workload import evaluate, make_purifier, make_task, rendered
from dds.attacks import PGD
from dds.callbacks import AttackAndPurify

KEPT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}
"""The environment of a process that keeps what it has freed."""


def once(options: Namespace) -> float:
    """Return the seconds of an evaluation in this process, after one to warm up."""
    protocol = AttackAndPurify(
        make_purifier(), [145], attacks={"pgd": PGD(steps=5)}, attacker_sees=["same"], draws=1
    )
    task, data = make_task("classification"), rendered(options.size, options.batch, options.batch)
    evaluate(task, protocol, data)
    start = time.perf_counter()
    evaluate(task, protocol, data)
    return time.perf_counter() - start


def measure(arguments: Sequence[str], setting: dict[str, str]) -> float:
    """Return the seconds of an evaluation in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.allocator", "--once", *arguments]
    done = subprocess.run(command, env=os.environ | setting, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the ratio of times; every round measures both in processes of their own."""
    made = parser(f"Time of an evaluation with {KEPT} over that without (glibc, so on Linux).", rounds=4)
    made.add_argument("--size", type=int, default=64, help="side of the images in pixels")
    made.add_argument("--batch", type=int, default=16, help="images, one batch")
    made.add_argument("--once", action="store_true", help="print the seconds of one evaluation, and stop")
    options = parse(made, arguments)
    if options.once:
        print(once(options))
        return
    given = sys.argv[1:] if arguments is None else list(arguments)
    seconds: dict[str, list[float]] = {"default": [], "kept": []}
    for _ in range(options.rounds):
        seconds["default"].append(measure(given, {}))
        seconds["kept"].append(measure(given, KEPT))
    print_table(["size", "kept / default"], [[options.size, ratio(seconds, "kept", "default")]])


if __name__ == "__main__":
    main()
