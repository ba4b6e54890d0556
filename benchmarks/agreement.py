"""Whether two ways to run one evaluation, on a CPU, on a GPU, with other settings, find the same."""

from argparse import Namespace
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import torch

from benchmarks.gpu_settings import ALL_HALF, BASE, FLOAT32, HALF, TF32, Setting
from benchmarks.paired import print_table
from benchmarks.settings import records_of
from benchmarks.workload import evaluate
from dds.attacks import PGD
from dds.batch import Record
from dds.callbacks import AttackAndPurify
from dds.data import Scenes
from dds.metrics.resampling import Resampling
from dds.purifiers import DiffusionDenoiser
from dds.tasks import BaseTask, SemanticSegmentation

LEVELS = [10, 50, 145, 259, 396]
CPU, AGAIN, FEWER = "CPU", "the same again", "half the batch"
EXACT_CPU, EXACT = "CPU, 64-true", "64-true"

Runs = Mapping[str, Sequence[Record]]
"""Of each way to run it, by name: what the task measured."""


def compare_devices(options: Namespace) -> None:
    """Run `seg_scenes` in several ways, and print how far apart their figures and those of each image are.

    Args:
        options: From the command line: `device`; `scenes`, how many images.
    """
    task = SemanticSegmentation("zoo:scenes-segmentation").eval().requires_grad_(False)
    protocol = AttackAndPurify(
        DiffusionDenoiser("zoo:scenes-ddpm"), LEVELS, attacks={"pgd": PGD("8/255", "2/255", 10)}
    )
    runs = dict(_runs(task, protocol, options))
    pairs = [(BASE, CPU), (FLOAT32.name, CPU), (EXACT, EXACT_CPU), (AGAIN, BASE), (FEWER, BASE)]
    _print_differences(runs, pairs)
    print()
    _print_metrics(task, runs, [condition.key for condition in protocol.plan.conditions])


def _runs(
    task: BaseTask, protocol: AttackAndPurify, options: Namespace
) -> Iterator[tuple[str, list[Record]]]:
    whole = options.scenes
    ways = [
        (CPU, "cpu", Setting(CPU), whole),
        (EXACT_CPU, "cpu", Setting(EXACT_CPU, precision="64-true"), whole),
        (EXACT, options.device, Setting(EXACT, precision="64-true"), whole),
        (BASE, options.device, Setting(BASE), whole),
        (AGAIN, options.device, Setting(BASE), whole),
        (FEWER, options.device, Setting(BASE), max(1, whole // 2)),
        *((setting.name, options.device, setting, whole) for setting in (FLOAT32, TF32)),
    ]
    if options.device == "cuda":  # processors without bf16 take forty times as long for it
        ways += [(setting.name, options.device, setting, whole) for setting in (HALF, ALL_HALF)]
    for name, device, setting, batch in ways:
        data = Scenes(limit=options.scenes, batch_size=batch)
        work = partial(evaluate, task, protocol, data, device, precision=setting.precision)
        with setting.change(task, protocol):
            yield name, joined(records_of(work))
        task.float()


def joined(records: Sequence[Record]) -> list[Record]:
    """Join the records of all batches, one a view and draw."""
    of_view: dict[tuple[tuple[str, ...], int | None], list[Record]] = defaultdict(list)
    for record in records:
        of_view[record.conditions, record.draw].append(record)
    return [
        Record(
            *view,
            {name: torch.cat([one.statistics[name] for one in parts]) for name in parts[0].statistics},
            {},
        )
        for view, parts in of_view.items()
    ]


def _print_differences(runs: Runs, pairs: Sequence[tuple[str, str]]) -> None:
    names = list(dict.fromkeys(name for record in runs[CPU] for name in record.statistics))
    rows = []
    for one, other in pairs:
        for title, clean in (("clean", True), ("attacked", False)):
            found = largest(runs[one], runs[other], clean)
            rows.append([f"{one} / {other}", title, *(f"{found[name]:.1e}" for name in names)])
    print_table(["largest difference of an image", "conditions", *names], rows)


def largest(one: Sequence[Record], other: Sequence[Record], clean: bool) -> dict[str, float]:
    """Return of each statistic the largest difference in any image, condition and draw."""
    largest: dict[str, float] = defaultdict(float)
    for here, there in zip(one, other, strict=True):
        if here.conditions[0].startswith("clean/") == clean:
            for name, value in here.statistics.items():
                apart = (value.double() - there.statistics[name].double()).abs().max().item()
                largest[name] = max(largest[name], apart)
    return largest


def _print_metrics(task: BaseTask, runs: Runs, conditions: Sequence[str]) -> None:
    shown = [name for name in runs if name not in (AGAIN, EXACT)]
    rows = [
        [condition, *(f"{metric_of(task, runs[name], condition):.3f}" for name in shown)]
        for condition in conditions
    ]
    print_table([f"{task.utility} of", *shown], rows)


def metric_of(task: BaseTask, records: Sequence[Record], condition: str) -> float:
    """Return the data-set metric of a condition, the mean over its draws."""
    values = []
    for record in records:
        if condition in record.conditions and record.draw is not None:
            metrics = task.metrics(Resampling(replicates=0))
            images = len(next(iter(record.statistics.values())))
            metrics.update(index=torch.arange(images), **record.statistics)
            values.append(metrics.compute()[task.utility].item())
    return float(np.mean(values))
