"""Our PGD and MI-FGSM beside those of other libraries, on one model with the same steps and budget."""

from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any, cast

import torch
from torch import Tensor, nn

from benchmarks.paired import interleave, parse, parser, print_table, ratio
from benchmarks.workload import count, make_task, recorded, rendered, replay
from dds.attacks import MIFGSM, PGD, Attack
from dds.batch import Batch
from dds.noise import Streams
from dds.tasks import BaseTask

EPS, STEP = 8 / 255, 2 / 255
OURS = "dds"

Craft = Callable[[], Tensor]
"""Attacks the batch; returns `[B, 3, H, W]`."""


def ours(name: str, steps: int, task: BaseTask, batch: Batch) -> Craft:
    """Return our attack on the bare task."""
    attacks: dict[str, Attack] = {"PGD": PGD(EPS, STEP, steps), "MI-FGSM": MIFGSM(EPS, STEP, steps)}
    streams = Streams(0, tuple(batch["index"].tolist()))
    return partial(attacks[name].craft, task, batch, [lambda image, streams: image], streams)


def torchattacks(library: ModuleType, name: str, steps: int, task: BaseTask, batch: Batch) -> Craft:
    """Return torchattacks' attack."""
    kind = {"PGD": library.PGD, "MI-FGSM": library.MIFGSM}[name]
    attack = kind(task, eps=EPS, alpha=STEP, steps=steps)
    return partial(attack, batch["image"], batch["label"])


def foolbox(library: ModuleType, name: str, steps: int, task: BaseTask, batch: Batch) -> Craft:
    """Return foolbox' attack."""
    attacks = import_module("foolbox.attacks")
    kind = {"PGD": attacks.LinfPGD, "MI-FGSM": attacks.LinfMomentumIterativeFastGradientMethod}[name]
    model = library.PyTorchModel(task, bounds=(0, 1), device=batch["image"].device)
    attack = kind(abs_stepsize=STEP, steps=steps)
    return lambda: cast(Tensor, attack(model, batch["image"], batch["label"], epsilons=EPS)[1])


def art(library: ModuleType, name: str, steps: int, task: BaseTask, batch: Batch) -> Craft:
    """Return the attack of the Adversarial Robustness Toolbox."""
    evasion = import_module("art.attacks.evasion")
    image, label = batch["image"].cpu().numpy(), batch["label"].cpu().numpy()
    estimator = import_module("art.estimators.classification").PyTorchClassifier(
        task,
        nn.CrossEntropyLoss(),
        tuple(image.shape[1:]),
        nb_classes=task(batch["image"][:1]).shape[1],
        clip_values=(0, 1),
        device_type="gpu" if batch["image"].is_cuda else "cpu",
    )
    budget = {"eps": EPS, "eps_step": STEP, "max_iter": steps, "batch_size": len(image), "verbose": False}
    if name == "PGD":
        attack = evasion.ProjectedGradientDescentPyTorch(estimator, num_random_init=1, **budget)
    else:
        attack = evasion.MomentumIterativeMethod(estimator, **budget)
    return lambda: torch.from_numpy(attack.generate(image, label))


LIBRARIES: dict[str, Any] = {"torchattacks": torchattacks, "foolbox": foolbox, "art": art}


def find(library: str) -> ModuleType | None:
    """Import a library, if it is installed."""
    try:
        return import_module(library)
    except ImportError:
        return None


def compare(name: str, task: BaseTask, batch: Batch, options: Namespace) -> list[list[object]]:
    """Time one attack in all libraries; return a row for each."""
    crafts = {OURS: ours(name, options.steps, task, batch)}
    for library, adapt in LIBRARIES.items():
        if (found := find(library)) is not None:
            crafts[library] = adapt(found, name, options.steps, task, batch)
    calls, losses = {}, {}
    for library, craft in crafts.items():
        with recorded(task.model) as calls[library]:
            attacked = craft().to(batch["image"])
        losses[library] = task.image_loss(attacked, batch).mean().item()
    seconds = interleave({"calls": partial(replay, calls[OURS]), **crafts}, options)
    rows: list[list[object]] = []
    for library in (OURS, *LIBRARIES):
        if library not in crafts:
            rows.append([name, library, "not installed", "-", "-", "-"])
            continue
        forward, backward = count(calls[library], len(batch["image"]))
        over, against = (ratio(seconds, library, base) for base in ("calls", OURS))
        made = f"{forward:.0f} + {backward:.0f}"
        rows.append([name, library, over, against, made, f"{losses[library]:.2f}"])
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each attack and library."""
    made = parser(
        "Time of PGD and MI-FGSM over that of the network calls of ours alone, and over ours. All libraries "
        "get the same frozen network, eps 8/255, step 2/255. Target: ours at most the fastest.",
        rounds=7,
    )
    made.add_argument("--size", type=int, default=64, help="side of the images in pixels")
    made.add_argument("--batch", type=int, default=16, help="images in the batch")
    made.add_argument("--steps", type=int, default=10, help="steps of each attack")
    options = parse(made, arguments)
    task = make_task("classification").to(options.device)
    batch = next(iter(rendered(options.size, options.batch, options.batch)))
    batch = cast(Batch, {key: batch[key].to(options.device) for key in ("image", "index", "label")})
    rows = [row for name in ("PGD", "MI-FGSM") for row in compare(name, task, batch, options)]
    columns = ["attack", "library", "time / its calls", "time / dds", "network calls", "loss reached"]
    print_table(columns, rows)


if __name__ == "__main__":
    main()
