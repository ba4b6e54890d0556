"""Whether intervals of the Poisson bootstrap are those of drawing N of N images, on all five tasks."""

from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import dds
from benchmarks.paired import print_table
from benchmarks.workload import make_purifier
from dds.data import BaseDataModule, SceneRetrieval, Scenes
from dds.metrics import MeanOverDraws, Resampling
from dds.metrics.intervals import interval
from dds.runs import RunFolder
from dds.runs.samples import to_draws
from dds.tasks import BaseTask

TASKS = {
    "classification": dds.tasks.Classification,
    "segmentation": dds.tasks.SemanticSegmentation,
    "depth": dds.tasks.DepthEstimation,
    "retrieval": dds.tasks.ImageRetrieval,
    "detection": dds.tasks.ObjectDetection,
}

Ends = NDArray[np.float64]
"""Low and high of each condition's interval, `[C, 2]`."""


@dataclass(frozen=True)
class DrawnOfAll(Resampling):
    """Resampled data sets of as many images as there are, drawn from them with replacement.

    Attributes:
        images: N.
    """

    images: int = 0

    def weights(self, index: Tensor) -> Tensor:
        """Return the weights of images, see `Resampling`."""
        random = np.random.default_rng(self.seed)
        drawn = random.multinomial(self.images, np.full(self.images, 1 / self.images), self.replicates)
        return torch.from_numpy(np.concatenate([np.ones((1, self.images)), drawn]).T[index.numpy()])


def compare(name: str, options: Namespace) -> list[str]:
    """Return how far ends lie apart, in widths of the interval: Poisson and N of N, and N of N twice."""
    task = TASKS[name](f"zoo:scenes-{name}")
    protocol = dds.AttackAndPurify(make_purifier(), [50, 145], draws=2)
    images: dict[str, Any] = {"size": options.size, "batch_size": 16}
    data: BaseDataModule = Scenes(test_images=options.images, **images)
    if name == "retrieval":
        data = SceneRetrieval(test_images=4 * options.images, **images)  # of which a quarter are queries
    with TemporaryDirectory() as place:
        folder = RunFolder(Path(place) / "run")
        summary = dds.evaluate(task, data, protocol, folder.path, quiet=True).summary
        samples, _ = folder.open_tables()
        drawn = [to_draws(samples.of(entry["key"])) for entry in summary["conditions"]]
    count = 1 + max(int(index.max()) for index, _ in drawn)

    def ends(of_seed: Callable[[int], Resampling]) -> list[Ends]:
        return [_ends(task, drawn, of_seed(seed)) for seed in range(options.seeds)]

    poisson, all_drawn = ends(Resampling), ends(lambda seed: DrawnOfAll(seed, images=count))
    centre = np.mean(all_drawn, axis=0)
    width = np.diff(centre, axis=1)  # (C, 1)

    def apart(found: Ends) -> float:
        return float(np.mean((abs(found - centre) / width)[width[:, 0] > 0]))  # where a metric varies

    together = apart(np.mean(poisson, axis=0))
    alone, again = (np.mean([apart(one) for one in many]) for many in (poisson, all_drawn))
    return [name, str(count), f"{together:.3f}", f"{alone:.3f}", f"{again:.3f}"]


def _ends(task: BaseTask, drawn: Sequence[tuple[Tensor, Any]], resampling: Resampling) -> Ends:
    found = []
    for index, draws in drawn:
        metrics = MeanOverDraws(task.metrics(resampling))
        metrics.update(index, **draws)
        measured = interval(metrics.compute()[task.utility])
        found.append([measured["low"], measured["high"]])
    return np.array(found, dtype=float)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each task."""
    made = ArgumentParser(description=__doc__, formatter_class=ArgumentDefaultsHelpFormatter)
    made.add_argument("tasks", nargs="*", default=list(TASKS), help="of " + ", ".join(TASKS))
    made.add_argument("--images", type=int, default=48, help="of the scenes")
    made.add_argument("--size", type=int, default=64, help="height and width of an image")
    made.add_argument("--seeds", type=int, default=4, help="times that each is drawn")
    options = made.parse_args(arguments)
    columns = ["task", "images", "mean over seeds: Poisson - N of N", "one seed: Poisson", "N of N"]
    print_table(columns, (compare(name, options) for name in options.tasks))


if __name__ == "__main__":
    main()
