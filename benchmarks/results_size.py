"""What the results of large runs take: time and memory of merging, summary, report and comparison."""

import json
import os
import shutil
import subprocess
import sys
import time
from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor

import dds.tasks
from benchmarks.paired import print_table
from dds.attacks import PGD
from dds.batch import Record, Relevance
from dds.callbacks import AttackAndPurify
from dds.data import GivenData
from dds.protocol import Condition
from dds.purifiers import DiffusionDenoiser
from dds.runs.examples import write_examples
from dds.runs.job import Job
from dds.runs.run_folder import RunFolder
from dds.runs.samples import Spent, records_to_table, write_parquet

Random = np.random.Generator
Statistics = dict[str, Tensor]

_ATTACKS = {"default": 1, "study": 18}  # 17 and 204 conditions
_SHOWN = 2  # images in the figures
_MADE = 64  # batches of which all others are copies


@dataclass(frozen=True)
class Case:
    """A benchmark that people run.

    Attributes:
        task: Name of its task.
        network: Of the zoo; it is not asked.
        images: As many as the benchmark has; of retrieval, as many as its database has.
        side: Height and width of its images.
        batch: Images of a part.
        grid: How many attacks, see `_ATTACKS`.
    """

    task: str
    network: str
    images: int
    side: tuple[int, int]
    batch: int
    grid: str = "default"


CASES = {
    "imagenet": Case("Classification", "scenes-classification", 50_000, (256, 256), 8),
    "ade": Case("SemanticSegmentation", "scenes-segmentation", 2_000, (256, 256), 8, "study"),
    "coco": Case("ObjectDetection", "scenes-detection", 5_000, (640, 640), 8),
    "nyu": Case("DepthEstimation", "scenes-depth", 654, (480, 640), 2, "study"),
    "retrieval": Case("ImageRetrieval", "scenes-retrieval", 1_000_000, (512, 512), 2),
}


# What is measured of a batch of images, at random but of the real sizes


def _share(random: Random, images: int) -> Tensor:
    return torch.from_numpy(random.random(images, dtype=np.float32))


def _classification(random: Random, images: int) -> Statistics:
    return {"correct": (_share(random, images) > 0.5).float(), "predicted": 1000 * _share(random, images)}


def _segmentation(random: Random, images: int) -> Statistics:
    """150 classes, of which about 12 are labelled and 30 predicted."""
    labelled = _pixels(random, images, 12)
    intersection = (labelled * random.random(labelled.shape)).astype(np.int64)
    counts = {"intersection": intersection, "predicted": intersection + _pixels(random, images, 18)}
    tensors = {name: torch.from_numpy(count) for name, count in (counts | {"labelled": labelled}).items()}
    return tensors | {"iou": _share(random, images)}


def _pixels(random: Random, images: int, classes: int) -> NDArray[np.int64]:
    return random.integers(0, 9000, (images, 150)) * (random.random((images, 150)) < classes / 150)


def _detection(random: Random, images: int) -> Statistics:
    """Up to 14 objects of 80 classes, three quarters of which are found by one of 100 detections."""
    there = np.arange(63) < random.integers(1, 15, (images, 1))
    objects = np.where(there, random.integers(1, 81, (images, 63)), -1)
    found = there & (random.random(there.shape) < 0.75)
    hit, classes = (np.pad(one, ((0, 0), (0, 37))) for one in (found, objects))
    shuffled = random.permuted(np.tile(np.arange(100), (images, 1)), axis=1)
    hit, classes = (np.take_along_axis(one, shuffled, axis=1) for one in (hit, classes))
    classes = np.where(hit, classes, random.integers(1, 81, (images, 100)))
    right = np.where(hit, 2 ** random.integers(1, 11, (images, 100)) - 1, 0)
    scores = -np.sort(-random.random((images, 100), dtype=np.float32))
    counts = {"scores": scores, "classes": classes, "right": right, "ignored": np.zeros_like(right)}
    tensors = {name: torch.from_numpy(count) for name, count in (counts | {"objects": objects}).items()}
    return tensors | {"f1": _share(random, images)}


def _depth(random: Random, images: int) -> Statistics:
    names = ("rmse", "absrel", "delta1")
    return {**{name: _share(random, images) for name in names}, "known": torch.ones(images)}


_STATISTICS: dict[str, Callable[[Random, int], Statistics]] = {
    "Classification": _classification,
    "SemanticSegmentation": _segmentation,
    "ObjectDetection": _detection,
    "DepthEstimation": _depth,
}


def _records(case: Case, conditions: Sequence[Condition], images: int, random: Random) -> list[Record]:
    records = []
    for condition in conditions:
        shared = ("psnr", "ssim", "linf", "l2", "loss", "feature_cosine")
        for draw in range(condition.draws):
            measured = {name: _share(random, images) for name in shared}
            own = _STATISTICS[case.task](random, images)
            records.append(Record((condition.key,), draw, own | measured, {}))
        if condition.draws > 1:
            records.append(Record((condition.key,), None, _STATISTICS[case.task](random, images), {}))
    return records


# The run


class _Blank(torch.utils.data.Dataset[Any]):
    def __init__(self, images: int, target: Any) -> None:
        self.images, self.target = images, target

    def __len__(self) -> int:
        return self.images

    def __getitem__(self, place: int) -> tuple[Tensor, Any]:
        return torch.zeros(3, 8, 8), self.target


def make_job(case: Case, images: int, attacks: int) -> Job:
    """Return the job whose parts are made up."""
    task = getattr(dds.tasks, case.task)(f"zoo:{case.network}")
    named = {f"pgd{number}": PGD() for number in range(attacks)}
    protocol = AttackAndPurify(DiffusionDenoiser("zoo:scenes-ddpm"), attacks=dict(named))
    boxes = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    blank = _Blank(images, boxes if task.target == "boxes" else torch.tensor(0))
    return Job(task, GivenData(blank, task.target, case.batch), protocol)


def write_parts(case: Case, job: Job, folder: RunFolder) -> None:
    """Write what a run leaves before it is merged."""
    head = job.head()
    settings = {"task": f"dds.tasks.{case.task}", "data": f"dds.data.{head['data']}"}
    config = {name: {"class_path": path, "init_args": {}} for name, path in settings.items()}
    folder.prepare(job.with_header(yaml.safe_dump(config | {"protocol": {"seed": head["seed"]}})))
    folder.leave()
    random, tables, rows = np.random.default_rng(0), [], torch.arange(case.batch)
    for number, first in enumerate(range(0, len(job.grid.images), case.batch)):
        if number < _MADE:
            records = _records(case, job.grid.conditions, case.batch, random)
            tables.append(records_to_table(records, rows))
        table = tables[number % _MADE]
        table = table.set_column(0, "index", pc.add(table["index"], first))
        table = table.filter(pc.less(table["index"], len(job.grid.images)))
        write_parquet(table, folder.parts / f"{first:09d}.parquet", Spent(seconds=1.0))
    write_examples(_examples(case, job.grid.keys, random), folder.parts / "000000000.npz")


def _examples(case: Case, keys: Sequence[str], random: Random) -> dict[str, Any]:
    picture = random.integers(0, 256, (_SHOWN, *case.side, 3), np.uint8) // 32 * 32
    kinds = [f"{kind}:{key}" for key in keys for kind in ("attacked", "shown", "decision")]
    return {"original": picture, "index": np.arange(_SHOWN), **dict.fromkeys(kinds, picture)}


# What is timed, each in a process of its own


def merge(job: Job, folder: RunFolder) -> None:
    """Merge the parts."""
    if not job.merge(folder):
        raise RuntimeError("parts are missing")


def summary(job: Job, folder: RunFolder) -> None:
    """Write `summary.json`."""
    from dds.results.summary import write_summary

    write_summary(job, folder)


def report(job: Job, folder: RunFolder) -> None:
    """Write `report.html`."""
    from dds.reports import write_report
    from dds.results.source import read_run

    write_report(folder, read_run(folder))


def compare(job: Job, folder: RunFolder) -> None:
    """Lay the run over itself under another name."""
    from dds.reports.comparison import write_comparison

    other = folder.path.with_name("other")
    shutil.copytree(folder.path, other, copy_function=os.link)
    write_comparison([folder, RunFolder(other)], folder.path.with_name("comparison.html"))


def attack(database: int) -> None:
    """Take a step of an attack on a query and rank a database."""
    task = dds.tasks.ImageRetrieval("zoo:scenes-retrieval")
    task.databases["t0"] = torch.nn.functional.normalize(torch.rand(database, 384), dim=1)
    relevance = torch.zeros(2, database, dtype=torch.int8)
    relevance[:, :100] = Relevance.EASY
    batch: Any = {"relevance": relevance}
    query = torch.nn.functional.normalize(torch.rand(2, 384), dim=1).requires_grad_()
    for _ in range(20):
        torch.autograd.grad(task.loss(query, batch).sum(), query)
    task.statistics(query.detach(), batch)


STEPS = {"merge": merge, "summary": summary, "report": report, "compare": compare}


def run_step(options: Namespace) -> None:
    """Do one step and print its seconds, its CPU seconds and the MiB at its peak."""
    case = CASES[options.cases[0]]
    job = None if case.task == "ImageRetrieval" else make_job(case, options.images, options.attacks)
    start = time.monotonic(), time.process_time()
    if job is None:
        attack(options.images)
    else:
        STEPS[options.step](job, RunFolder(Path(options.folder)))
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    seconds = time.monotonic() - start[0], time.process_time() - start[1]
    print(json.dumps([*seconds, int(peak.split()[1]) / 1024]))


def measure(name: str, images: int, attacks: int) -> dict[str, tuple[float, float, float]]:
    """Return the seconds, CPU seconds and MiB of each step."""
    case, measured = CASES[name], {}
    with TemporaryDirectory() as place:
        folder = RunFolder(Path(place) / "run")
        if case.task != "ImageRetrieval":
            write_parts(case, make_job(case, images, attacks), folder)
        for step in ["attack"] if case.task == "ImageRetrieval" else STEPS:
            command = [sys.executable, "-m", "benchmarks.results_size", name, f"--step={step}"]
            command += [f"--folder={folder.path}", f"--images={images}", f"--attacks={attacks}"]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(done.stderr)
            measured[step] = json.loads(done.stdout.splitlines()[-1])
    return measured


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each case and step; growth is what all images take over half of them."""
    made = ArgumentParser(description=__doc__, formatter_class=ArgumentDefaultsHelpFormatter)
    made.add_argument("cases", nargs="*", default=list(CASES), help="of " + ", ".join(CASES))
    made.add_argument("--images", type=int, default=64, help="images of a run; retrieval: of the database")
    made.add_argument("--attacks", type=int, default=1, help="each stands for 11 conditions besides 6")
    made.add_argument("--full", action="store_true", help="the size of the benchmarks instead of these two")
    made.add_argument("--step", help="do this step alone, on --folder")
    made.add_argument("--folder", help="a run's folder")
    options = made.parse_args(arguments)
    if options.step:
        run_step(options)
        return
    rows = []
    for name in options.cases:
        images = CASES[name].images if options.full else options.images
        attacks = _ATTACKS[CASES[name].grid] if options.full else options.attacks
        half, whole = (measure(name, size, attacks) for size in (images // 2, images))
        for step, measured in whole.items():
            growth = [f"{now / before:.2f}" for now, before in zip(measured[1:], half[step][1:], strict=True)]
            said = [f"{value:.{digits}f}" for value, digits in zip(measured, (1, 1, 0), strict=True)]
            rows.append([name, images, 6 + 11 * attacks, step, *said, *growth])
    columns = ["case", "images", "conditions", "step", "s", "CPU s", "peak MiB", "growth of CPU s", "of peak"]
    print_table(columns, rows)


if __name__ == "__main__":
    main()
