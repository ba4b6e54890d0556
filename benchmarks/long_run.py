"""Whether memory and open files stay the same while an evaluation goes on."""

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer

from benchmarks.paired import parse, parser, print_table
from benchmarks.workload import TASKS, evaluate, make_purifier, make_task
from dds.attacks import PGD
from dds.callbacks import AttackAndPurify
from dds.data import Scenes
from dds.runs import ResultsWriter, RunFolder

_PROC = Path("/proc/self")


class Watch(Callback):
    """Notes after each batch what the process holds; needs Linux.

    Attributes:
        held: Resident MiB and open files after each batch.
    """

    def __init__(self) -> None:
        self.held: list[tuple[float, float]] = []

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *batch: Any, **more: Any
    ) -> None:
        """Look once."""
        pages = int((_PROC / "statm").read_text().split()[1])
        files = len(list((_PROC / "fd").iterdir()))
        self.held.append((pages * os.sysconf("SC_PAGE_SIZE") / 2**20, files))


def slope(values: Sequence[float]) -> float:
    """Return how much a value grows in 100 batches, after a tenth of them to warm up."""
    later = values[len(values) // 10 :]
    return 100 * float(np.polyfit(np.arange(len(later)), later, 1)[0])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what was held at the start, in the middle and at the end of each evaluation."""
    made = parser(
        "Resident memory and open files during an evaluation of many small batches, results written to disk; "
        "rounds are evaluations one after the other in this process. Target: flat.",
        rounds=1,
    )
    made.add_argument("--size", type=int, default=16, help="side of the images in pixels")
    made.add_argument("--task", choices=list(TASKS), default="classification", help="task and network")
    made.add_argument("--batches", type=int, default=500, help="batches of an evaluation")
    made.add_argument("--batch", type=int, default=2, help="images in a batch")
    options = parse(made, arguments)
    task, rows = make_task(options.task), []
    for number in range(options.rounds):
        protocol = AttackAndPurify(make_purifier(), [50], attacks={"pgd": PGD(steps=1)}, draws=2)
        data = Scenes(options.size, test_images=options.batches * options.batch, batch_size=options.batch)
        watch = Watch()
        with TemporaryDirectory() as folder:
            writer = ResultsWriter(RunFolder(Path(folder)), config="")
            evaluate(task, protocol, data, options.device, [writer, watch])
        for name, values in zip(("resident MiB", "open files"), zip(*watch.held, strict=True), strict=True):
            three = [f"{values[place]:.1f}" for place in (0, len(values) // 2, -1)]
            rows.append([number, name, *three, f"{slope(values):+.3f}"])
    print_table(["evaluation", "held", "start", "middle", "end", "growth in 100 batches"], rows)


if __name__ == "__main__":
    main()
