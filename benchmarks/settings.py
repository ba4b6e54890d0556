"""What settings of the trainer and of torch buy, and what they change in the results."""

from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from benchmarks.paired import interleave, parse, parser, print_table, ratio
from benchmarks.workload import TASKS, evaluate, make_purifier, make_task, networks_of, recorded, rendered
from dds.batch import Record
from dds.callbacks import AttackAndPurify
from dds.tasks import BaseTask

LEVELS = [50, 145]
FULL, HALF = "32-true", "bf16-mixed"


class Records(Callback):
    """Keeps what a task measures."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *batch: Any, **more: Any
    ) -> None:
        """Keep the records of a batch."""
        self.records += outputs["records"]


def call(network: Callable[..., object], inputs: Sequence[Tensor], half: bool = False) -> None:
    """Call a network without gradients, in half precision or not."""
    with torch.no_grad(), torch.autocast(inputs[0].device.type, torch.bfloat16, enabled=half):
        network(*inputs)


def compare_networks(networks: dict[str, tuple[nn.Module, tuple[Tensor, ...]]], options: Namespace) -> None:
    """Print what each setting makes of each network's forward call."""
    rows = []
    for name, (network, inputs) in networks.items():
        works = {"float32": partial(call, network, inputs), "bf16": partial(call, network, inputs, half=True)}
        if options.compile:
            compiled = torch.compile(network)
            works["compiled"] = partial(call, compiled, inputs)
            works["compiled, bf16"] = partial(call, compiled, inputs, half=True)
        seconds = interleave(works, options)
        rows += [[name, setting, ratio(seconds, setting, "float32")] for setting in list(works)[1:]]
    print_table(["network, forward", "setting", "time / float32"], rows)


def records_of(evaluation: Callable[..., None]) -> list[Record]:
    """Run an evaluation and return what its task measured."""
    kept = Records()
    evaluation(callbacks=[kept])
    return kept.records


def score(task: BaseTask, records: list[Record], condition: str) -> Tensor:
    """Return what decides about each image under a condition, `[N]`."""
    mine = [record.statistics[task.score] for record in records if condition in record.conditions]
    return torch.cat(mine)


def compare_evaluations(task: BaseTask, protocol: AttackAndPurify, options: Namespace) -> None:
    """Print what half precision makes of an evaluation: its time, and the score of each condition."""
    data = rendered(options.size, options.batch, options.batch)
    works = {
        precision: partial(evaluate, task, protocol, data, options.device, precision=precision)
        for precision in (FULL, HALF)
    }
    full, half = (records_of(work) for work in works.values())
    seconds = interleave(works, options)
    print(f"\nevaluation, time at {HALF} / {FULL}: {ratio(seconds, HALF, FULL)}\n")
    rows = []
    for condition in protocol.plan.conditions:
        exact, rounded = (score(task, records, condition.key) for records in (full, half))
        change = (rounded - exact).abs().mean()
        rows.append([condition.key, f"{exact.mean():.4f}", f"{rounded.mean():.4f}", f"{change:.4f}"])
    print_table(["condition", f"{task.score}, {FULL}", HALF, "mean change of an image"], rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table of networks and one of evaluations."""
    made = parser(
        "Time and results at `--trainer.precision=bf16-mixed`, and time of compiled networks, over float32. "
        "Attacks are left out: they run in float32 whatever the setting.",
        rounds=5,
    )
    made.add_argument("--size", type=int, default=64, help="side of the images in pixels")
    made.add_argument("--task", choices=list(TASKS), default="segmentation", help="task and network")
    made.add_argument("--batch", type=int, default=16, help="images, one batch")
    made.add_argument("--compile", action="store_true", help="compile the networks too, which takes minutes")
    options = parse(made, arguments)
    task, protocol = make_task(options.task), AttackAndPurify(make_purifier(), LEVELS, draws=1)
    with recorded(*networks_of(task, protocol)) as calls:
        evaluate(task, protocol, rendered(options.size, options.batch, options.batch), options.device)
    real = {type(call.network).__name__: (call.network, call.inputs) for call in calls}  # the last of each
    compare_networks(real, options)
    compare_evaluations(task, protocol, options)


if __name__ == "__main__":
    main()
