"""What the benchmarks run: the embedded scenes, their networks, and the calls that these get."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from dds.batch import Batch
from dds.callbacks import AttackAndPurify
from dds.data import Scenes
from dds.purifiers import DiffusionDenoiser
from dds.tasks import BaseTask, Classification, SemanticSegmentation

logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
warnings.filterwarnings("ignore", message=".*does not have many workers.*")
warnings.filterwarnings("ignore", message=".*LeafSpec.*")

TASKS: dict[str, type[BaseTask]] = {"classification": Classification, "segmentation": SemanticSegmentation}

Data = LightningDataModule | DataLoader[Batch]


def make_task(name: str) -> BaseTask:
    """Return one of `TASKS` with its bundled network, frozen."""
    return TASKS[name](f"zoo:scenes-{name}").eval().requires_grad_(False)


def make_purifier() -> DiffusionDenoiser:
    """Return one-shot purification with the bundled diffusion network."""
    return DiffusionDenoiser("zoo:scenes-ddpm")


def rendered(size: int, images: int, batch_size: int) -> DataLoader[Batch]:
    """Return batches of the embedded scenes that are rendered already."""
    scenes = Scenes(size=size, test_images=images, batch_size=batch_size)
    return DataLoader(cast(Any, list(scenes.test_dataloader())), batch_size=None)


def evaluate(
    task: BaseTask,
    protocol: AttackAndPurify,
    data: Data,
    device: str = "cpu",
    callbacks: Sequence[Callback] = (),
    **options: Any,
) -> None:
    """Run Lightning's test loop as `evaluate.py` does.

    Args:
        task: The task.
        protocol: What it is shown.
        data: The images.
        device: `cpu` or `cuda`.
        callbacks: Further callbacks.
        **options: Further options of Lightning's trainer.
    """
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    where = {"accelerator": device, "devices": 1, "inference_mode": False}
    trainer = Trainer(callbacks=[protocol, *callbacks], **cast(Any, quiet | where | options))
    trainer.test(task, data, verbose=False)


@dataclass(frozen=True)
class Call:
    """One call of a network.

    Attributes:
        network: What was called.
        inputs: What it was given; first the images, `[B, 3, H, W]`.
        gradient: Whether the gradient of the images was to follow.
    """

    network: nn.Module
    inputs: tuple[Tensor, ...]
    gradient: bool


@contextmanager
def recorded(*networks: nn.Module) -> Iterator[list[Call]]:
    """Note every call of the networks, at the networks, while the context lasts."""
    calls: list[Call] = []

    def note(network: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
        gradient = torch.is_grad_enabled() and inputs[0].requires_grad
        calls.append(Call(network, tuple(given.detach() for given in inputs), gradient))

    handles = [network.register_forward_hook(note) for network in networks]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def networks_of(task: BaseTask, protocol: AttackAndPurify) -> list[nn.Module]:
    """Return the task's network and that of the purifier, if there is one."""
    purifier = protocol.purifier
    return [cast(nn.Module, part.model) for part in (task, purifier) if part is not None]


def replay(calls: Sequence[Call]) -> None:
    """Make the same calls again, and nothing else: forward, and backward to the images where one was."""
    for call in calls:
        image, *more = call.inputs
        network = call.network.to(image.device)  # Lightning's test loop leaves a task on the CPU
        with torch.set_grad_enabled(call.gradient):
            leaf = image.detach().requires_grad_(call.gradient)
            output = network(leaf, *more)
        if call.gradient:
            said = cast(Tensor, getattr(output, "sample", output))
            torch.autograd.grad(said, leaf, torch.ones_like(said))


def without_rehearsal(calls: Sequence[Call]) -> list[Call]:
    """Leave out the calls with one image or two that precede an evaluation of larger batches."""
    return [call for call in calls if len(call.inputs[0]) > 2]


def count(calls: Sequence[Call], images: int) -> tuple[float, float]:
    """Return forward and backward calls for one of the images of a data set."""
    forward = sum(len(call.inputs[0]) for call in calls)
    backward = sum(len(call.inputs[0]) for call in calls if call.gradient)
    return forward / images, backward / images
