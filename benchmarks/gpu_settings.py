"""Settings of torch and of the harness under which an evaluation on a GPU is measured."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, cast
from unittest.mock import patch

import torch
from torch import Tensor, nn

from benchmarks.workload import networks_of
from dds.callbacks import AttackAndPurify
from dds.noise import Streams, generator_of
from dds.protocol import Defence
from dds.purifiers import DiffusionDenoiser
from dds.tasks import BaseTask

BASE = "as it is"
"""Convolutions in TF32, products of matrices in float32: how torch starts on a GPU."""

REPEATABLE = "dds.callbacks.attack_and_purify.repeatable"
"""What has a GPU compute the same twice."""


@dataclass(frozen=True)
class Setting:
    """What is changed while an evaluation is measured.

    Attributes:
        name: What tables call it.
        change: Makes the change for a task and a protocol, and undoes it.
        precision: That of the trainer.
        of_purifier: Whether it is about a purifier, and nothing without one.
    """

    name: str
    change: Callable[[BaseTask, AttackAndPurify], AbstractContextManager[object]] = lambda *given: (
        nullcontext()
    )
    precision: str = "32-true"
    of_purifier: bool = False


@contextmanager
def tensor_cores(everywhere: bool) -> Iterator[None]:
    """Compute float32 convolutions and products in TF32, or neither."""
    cuda, cudnn = cast(Any, torch.backends.cuda.matmul), cast(Any, torch.backends.cudnn)
    before = cuda.allow_tf32, cudnn.allow_tf32
    cuda.allow_tf32 = cudnn.allow_tf32 = everywhere
    try:
        yield
    finally:
        cuda.allow_tf32, cudnn.allow_tf32 = before


@contextmanager
def in_half(task: BaseTask, protocol: AttackAndPurify) -> Iterator[None]:
    """Have attacks look at the networks in bf16."""
    protocol.attack_precision = "bf16-mixed"
    try:
        yield
    finally:
        protocol.attack_precision = "32-true"


@contextmanager
def channels_last(task: BaseTask, protocol: AttackAndPurify) -> Iterator[None]:
    """Keep the weights of convolutions, and so what they return, with the channels behind the pixels."""
    networks = networks_of(task, protocol)
    _arrange(networks, torch.channels_last)
    try:
        yield
    finally:
        _arrange(networks, torch.contiguous_format)


def _arrange(networks: Iterable[nn.Module], memory_format: torch.memory_format) -> None:
    for network in networks:
        network.to(memory_format=memory_format)


@contextmanager
def half_and_last(task: BaseTask, protocol: AttackAndPurify) -> Iterator[None]:
    """Make two changes at once."""
    with in_half(task, protocol), channels_last(task, protocol):
        yield


@contextmanager
def compiled(task: BaseTask, protocol: AttackAndPurify) -> Iterator[None]:
    """Compile the purifier's network as `protocol.compile` does."""
    protocol.compile = True
    try:
        yield
    finally:
        protocol.compile = False
        for network in protocol.defences.networks:
            vars(network).pop("forward", None)


def draws_together(
    self: AttackAndPurify, attacked: Tensor, defence: Defence | None, numbers: Iterable[int], streams: Streams
) -> Iterator[Tensor]:
    """Purify all draws by one call of the network; in the place of `AttackAndPurify._draws`."""
    own = [streams.child("defence", number) for number in numbers]
    if defence is None:
        yield from [attacked] * len(own)
        return
    purifier = cast(DiffusionDenoiser, self.defences.purifier_of(defence))
    noise = torch.cat([each.normal(attacked) for each in own])
    copies = attacked.repeat(len(own), 1, 1, 1)
    yield from purifier.denoise(copies, cast(Any, defence.level), noise).chunk(len(own))


def drawn_on_device(self: Streams, sample: Callable[..., Tensor], like: Tensor) -> Tensor:
    """Draw other numbers where the images are; in the place of `Streams._draw`."""
    device = like.device
    seeds = [generator_of(self.key(place)).initial_seed() for place in range(len(like))]
    rows = [
        sample(like.shape[1:], device=device, generator=torch.Generator(device).manual_seed(seed))
        for seed in seeds
    ]
    return torch.stack(rows).to(like)


FLOAT32 = Setting("float32 throughout", lambda *given: tensor_cores(False))
TF32 = Setting("TF32 throughout", lambda *given: tensor_cores(True))
HALF = Setting("bf16-mixed", precision="bf16-mixed")
ALL_HALF = Setting("bf16 in attacks too", in_half, "bf16-mixed")
COMPILED = Setting("compiled purifier", compiled, of_purifier=True)

SETTINGS = (
    Setting(BASE),
    TF32,
    HALF,
    ALL_HALF,
    Setting("channels-last", channels_last, of_purifier=True),
    Setting("bf16 in attacks too, channels-last", half_and_last, "bf16-mixed", of_purifier=True),
    Setting(
        "draws together",
        lambda *given: patch.object(AttackAndPurify, "_draws", draws_together),
        of_purifier=True,
    ),
    Setting("not repeatable", lambda *given: patch(REPEATABLE, lambda device: nullcontext())),
    Setting("noise drawn on the device", lambda *given: patch.object(Streams, "_draw", drawn_on_device)),
    FLOAT32,  # which takes longest
)
"""What is measured of every evaluation; without a purifier those that are not about one."""
