"""Asking a detector for the losses that it is trained with."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torchvision.models.detection import FCOS, RetinaNet
from torchvision.models.detection.ssd import SSD

from dds.models.answers import losses_of

Target = dict[str, Tensor]
"""`boxes` `[N, 4]` and `labels` `[N]` of an image."""

_ONE_STAGE = (FCOS, RetinaNet, SSD)
_NORMS = nn.modules.batchnorm._BatchNorm


@runtime_checkable
class ByImage(Protocol):
    """A detector that tells its loss on each image by itself."""

    def image_losses(self, images: Tensor, targets: list[Target]) -> Tensor:
        """Return the losses `[B]` on images `[B, 3, H, W]` in [0, 1]."""


def apart(images: Tensor) -> list[Tensor]:
    """Return the images of a batch, `[B, 3, H, W]`, as detectors take them, who may work on them in place."""
    return [image.clone() for image in images]


def batch_loss(model: nn.Module, images: Tensor, targets: list[Target]) -> Tensor:
    """Return the sum of a detector's losses on a batch `[B, 3, H, W]`."""
    if isinstance(model, ByImage):
        return model.image_losses(images, targets).mean()
    with _asked_for_losses(model):
        return _total(model(apart(images), targets))


def image_losses(model: nn.Module, images: Tensor, targets: list[Target], seeds: list[int]) -> Tensor:
    """Return the sum of a detector's losses on each image by itself, `[B]`.

    torchvision's one-stage detectors run once on the whole batch, any other once on each image; one with an
    `image_losses(images, targets)` of its own is asked for that.

    Args:
        model: The detector; its layers stay in the mode that they are in.
        images: `[B, 3, H, W]` in [0, 1].
        targets: Of each image.
        seeds: Of each image, for detectors that draw the proposals that they are judged on.
    """
    if isinstance(model, ByImage):
        return model.image_losses(images, targets)
    with _asked_for_losses(model):
        if isinstance(model, _ONE_STAGE):
            with _images_apart(model):
                return _total(model(apart(images), targets))
        one_by_one = zip(apart(images), targets, seeds, strict=True)
        return torch.stack([_loss_of_one(model, *one) for one in one_by_one])


def _total(output: Any) -> Tensor:
    return torch.stack(list(losses_of(output).values())).sum(0)


def _loss_of_one(model: nn.Module, image: Tensor, target: Target, seed: int) -> Tensor:
    with torch.random.fork_rng([image.device] if image.is_cuda else []):
        torch.manual_seed(seed)
        return _total(model([image], [target]))


@contextmanager
def _asked_for_losses(model: nn.Module) -> Iterator[None]:
    """Have a network return losses, while norms, dropouts and input sizes stay in the mode that they are in.

    The parts of a detector that decide what it returns are made of other layers; what depends on the mode
    besides has none, but for norms with an activation inside.
    """
    modes = [(layer, layer.training) for layer in model.modules()]
    for layer, mode in modes:
        layer.training = mode or (any(True for _ in layer.children()) and not isinstance(layer, _NORMS))
    try:
        yield
    finally:
        for layer, mode in modes:
            layer.training = mode


@contextmanager
def _images_apart(model: Any) -> Iterator[None]:
    """Have a one-stage detector compute its losses for each image of a batch by itself, `[B]` each."""
    of_batch = model.compute_loss

    def of_each(*arguments: Any) -> dict[str, Tensor]:
        losses = [of_batch(*(_part(a, place) for a in arguments)) for place in range(len(arguments[0]))]
        return {name: torch.stack([loss[name] for loss in losses]) for name in losses[0]}

    model.compute_loss = of_each
    try:
        yield
    finally:
        del model.compute_loss


def _part(argument: Any, place: int) -> Any:
    """Return one image's part of what `compute_loss` is given, still as a batch."""
    if isinstance(argument, dict):  # the network's outputs, (B, ...) each
        return {name: value[place : place + 1] for name, value in argument.items()}
    if isinstance(argument[0], int):  # anchors of each level, the same for every image
        return argument
    return argument[place : place + 1]
