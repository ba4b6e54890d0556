"""Threads or processes on a CPU: what an evaluation takes, on a quiet machine and beside other work."""

import multiprocessing
import os
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.paired import Spread, parser, print_table


@dataclass(frozen=True)
class Way:
    """A way to use a machine's cores.

    Attributes:
        processes: How many, each with its share of the images.
        threads: Of each.
        spin: How often a thread that has nothing to do looks for work before it sleeps (`GOMP_SPINCOUNT`);
            None: as often as OpenMP likes.
    """

    processes: int
    threads: int
    spin: int | None = None

    def __str__(self) -> str:
        looking = "" if self.spin is None else f", {self.spin:,} looks"
        return f"{self.processes} x {self.threads} threads{looking}"


def ways(cores: int) -> list[Way]:
    """Return those that are compared."""
    spins = [Way(1, cores, spin) for spin in (None, 0, 1_000, 10_000, 100_000)]
    return [*spins, Way(cores, 1), Way(1, 1)]


def measure(way: Way, options: Namespace) -> float:
    """Return the seconds from the moment when all processes are ready until the last one has finished."""
    images = options.images // way.processes
    command = [sys.executable, "-m", "benchmarks.threads", f"--worker={images}", f"--size={options.size}"]
    command.append(f"--batch={min(options.batch, images)}")
    environment = {**os.environ, "OMP_NUM_THREADS": str(way.threads)}
    environment |= {} if way.spin is None else {"GOMP_SPINCOUNT": str(way.spin)}
    workers = [
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(way.processes)
    ]
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()
    since = time.perf_counter()
    for worker in workers:
        worker.communicate("go\n")
    return time.perf_counter() - since


def work(options: Namespace) -> None:
    """Be one of the processes: get ready, wait, attack through the purifier and evaluate."""
    from benchmarks.workload import evaluate, make_purifier, make_task, rendered
    from dds.attacks import PGD
    from dds.callbacks import AttackAndPurify

    task, data = make_task("segmentation"), rendered(options.size, options.worker, options.batch)
    protocol = AttackAndPurify(make_purifier(), [145], attacks={"pgd": PGD(steps=3)})
    evaluate(task, protocol, rendered(options.size, 1, 1))
    print("ready", flush=True)
    sys.stdin.readline()
    evaluate(task, protocol, data)


def _spin() -> None:
    while True:
        pass


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Have other processes compute meanwhile."""
    others = [
        multiprocessing.get_context("fork").Process(target=_spin, daemon=True) for _ in range(processes)
    ]
    for other in others:
        other.start()
    try:
        yield
    finally:
        for other in others:
            other.kill()


def main(arguments: Sequence[str] | None = None) -> None:
    """Print seconds of each way."""
    made = parser(
        "PGD through the purifier and evaluation of segmentation, by threads of one process and by processes "
        "of one thread, beside none and more other processes that compute. Start-up does not count.",
        rounds=3,
    )
    made.add_argument("--size", type=int, default=64, help="side of the images in pixels")
    made.add_argument("--images", type=int, default=16, help="images, shared by the processes")
    made.add_argument("--batch", type=int, default=8, help="images in a batch")
    made.add_argument("--others", type=int, nargs="+", default=[0, 1], help="processes beside them")
    made.add_argument("--worker", type=int, help="be one of the processes, with so many images")
    options = made.parse_args(arguments)
    if options.worker:
        return work(options)
    compared = ways(len(os.sched_getaffinity(0)))
    print_table(["size", "other processes", "way", "s", f"s / {compared[0]}"], _rows(compared, options))
    return None


def _rows(compared: Sequence[Way], options: Namespace) -> Iterator[Sequence[object]]:
    for others in options.others:
        with busy(others):
            rounds = [{way: measure(way, options) for way in compared} for _ in range(options.rounds)]
        for way in compared:
            ratios = Spread.of([one[way] / one[compared[0]] for one in rounds])
            yield [options.size, others, way, Spread.of([one[way] for one in rounds]), ratios]


if __name__ == "__main__":
    main()
