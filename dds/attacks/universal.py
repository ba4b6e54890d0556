import hashlib
import sys
from collections.abc import Sequence
from contextlib import suppress
from copy import copy
from pathlib import Path
from typing import Any, Literal, Self

import platformdirs
import torch
from rich.console import Console
from torch import Tensor, nn

from dds.attacks.base import Attack, one_of, pixels, whole
from dds.attacks.broken_gradients import note_zero
from dds.attacks.objectives.base import AttackedTask, Calls, Objective, Purify, TaskLoss, Value, at, average
from dds.attacks.perturbation_file import read_perturbation, write_perturbation
from dds.attacks.together import Steps, placed
from dds.batch import Batch
from dds.data import BaseDataModule
from dds.errors import InputError
from dds.fingerprints import Fingerprint, Looks, NoFingerprintError, arithmetic, code_of
from dds.noise import Streams
from dds.numbers import real
from dds.purifiers.through import Through
from dds.storage import only_here
from dds.telling import told
from dds.whole_file import writing

_READING = "Reading the training images of a universal perturbation"


class Universal(Attack):
    """One perturbation for all images, made on training images and then added to each image as it is.

    Each minibatch takes one step, along the sign (Linf) or the direction (L2) of the gradient of what is
    maximised, summed over its images, from a random start (Shafahi et al., AAAI 2020). Of an image that is
    lost, beyond `clip`, there is no gradient.

    It is made when the first image is attacked, once for each thing that the attacker sees, which
    takes `epochs` times `images` times `eot` gradients, and is kept: any process, job or run with the same
    networks, settings, code and training images finds it. An image that is measured then costs no call. With
    `file` nothing is made, and, as what its maker saw is not known, it is measured as by an attacker who
    sees `none`.

    Args:
        eps: Budget in [0, 1] pixel units, e.g. `8/255`.
        norm: `linf` or `l2`.
        step_size: Length of a step in the same units.
        epochs: How often each training image is looked at.
        images: How many training images, drawn at random; all, where the data module has fewer.
        batch_size: Of a minibatch; it changes the result, and neither `data.batch_size` nor the number of
            processes does.
        eot: Noise draws that each gradient is averaged over; see `PGD`.
        objective: What is maximised; default the task's own loss.
        clip: The objective's value from which on an image counts as lost; none: it never does.
        file: A perturbation to be applied as it is: a file that was kept, or another's; see
            `perturbation_file` for what it holds.
        folder: Where perturbations are kept, a file for each thing that is seen; default: `universal` in the
            user's cache of `dds`.
    """

    run_state = frozenset({"folder", "_data", "_batches", "_made", "_given", "_looks"})
    """Attributes that do not tell one from another that makes the same."""

    def __init__(
        self,
        eps: float | str = "8/255",
        norm: Literal["linf", "l2"] = "linf",
        step_size: float | str = "1/255",
        epochs: int = 5,
        images: int = 512,
        batch_size: int = 32,
        eot: int = 1,
        objective: Objective | None = None,
        clip: float | None = 9.0,
        file: str | None = None,
        folder: str | None = None,
    ) -> None:
        super().__init__(eps)
        one_of("norm", norm, "linf", "l2")
        self.norm, self.step_size = norm, pixels("step_size", step_size)
        self.epochs, self.images = whole("epochs", epochs), whole("images", images)
        self.batch_size, self.eot = whole("batch_size", batch_size), whole("eot", eot)
        self.objective = objective or TaskLoss()
        self.clip = None if clip is None else real("clip", clip)
        if file is not None and folder is not None:
            raise InputError(f"file={file} and folder={folder}; expected one: a file is applied as it is.")
        self.file = None if file is None else only_here("file", file)
        kept = only_here("folder", folder) if folder else platformdirs.user_cache_path("dds") / "universal"
        self.folder = kept
        self._images_seen = ""
        """What tells the training images, as they are read, from others."""
        self._data: BaseDataModule | None = None
        self._batches: Any = ()
        self._given: Tensor | None = None
        self._made: dict[tuple[Any, ...], Tensor] = {}  # of copies with one draw, too
        self._looks = Looks()

    @property
    def needs_purifier(self) -> bool:
        """Whether it is made with an objective that is about the purifier."""
        return self.file is None and self.objective.needs_purifier

    @property
    def sees_defence(self) -> bool:
        """Whether it is made here."""
        return self.file is None

    @property
    def needs_gradient(self) -> bool:
        """Whether it is made here."""
        return self.file is None

    @property
    def task_calls(self) -> Calls:
        """None: it is there before the image is."""
        return Calls()

    @property
    def purifier_calls(self) -> Calls:
        """None likewise."""
        return Calls()

    @property
    def beforehand(self) -> str:
        """What it costs to make."""
        if self.file is not None:
            return ""
        times = self.images * self.epochs
        task, purifier = (
            count(Calls(self.eot, self.eot)) * times
            for count in (self.objective.task_calls, self.objective.purifier_calls)
        )
        return (
            f"made once for each thing that it sees, on {self.images} training images, for at most "
            f"{task.forward} + {task.backward} calls of the task and {purifier.forward} + "
            f"{purifier.backward} purifications"
        )

    def with_one_draw(self) -> Self:
        """Return the same with one noise draw for each gradient; see `Attack`."""
        once = copy(self)
        once.eot = 1
        return once

    def identity(self) -> str:
        """Tell the file by its bytes.

        Raises:
            InputError: If it cannot be read.
        """
        if self.file is None:
            return ""
        try:
            return hashlib.sha256(self.file.read_bytes()).hexdigest()[:16]
        except OSError as error:
            raise InputError(
                f"file={self.file} cannot be read: {error.strerror or error}. Expected a perturbation that "
                "is there; leave file out to have one made, and name a folder to have it kept there."
            ) from error

    def prepare(self, data: BaseDataModule) -> None:
        """Read the file; or look at the training images, and see that there is a place for what is made.

        Raises:
            InputError: If the file is not as it should be, test images are of several sizes, or there are no
                training images.
        """
        if self._data is data:
            return
        if len(sizes := data.shown_sizes) > 1:
            some = " and ".join(f"{height} x {width}" for height, width in sorted(sizes)[:2])
            raise InputError(
                f"the test images are of {len(sizes)} sizes, such as {some}; expected one, as one "
                "perturbation is added to all. Set a size in the data module."
            )
        if self.file is not None:
            self.identity()
            self._given = read_perturbation(self.file, self.eps, self.norm)
        else:
            self._look_at(data)
            with writing(self.folder, "Name a writable place by the attack's folder."):
                self.folder.mkdir(parents=True, exist_ok=True)
        self._data = data

    def _look_at(self, data: BaseDataModule) -> None:
        try:
            self._batches = data.some_training_batches(self.images, self.batch_size)
            self._images_seen = ""
            console = None if _is_first() else Console(quiet=True)
            for batch in told(self._batches, _READING, console, "batches"):
                self._images_seen = Fingerprint().of(self._images_seen, batch)
        except InputError as error:
            raise InputError(
                f"a universal perturbation is made on training images, but {error} Have it applied from a "
                "file (file: …), or choose a data module with training images."
            ) from error

    def meet(self, networks: Sequence[nn.Module]) -> None:
        """Tell them from others as they are now, so that what is made is found by runs to come."""
        with suppress(NoFingerprintError):  # it is said when something is made
            for network in networks if self.file is None else ():
                self._looks.at(network)

    def check(self, task: AttackedTask, batch: Batch) -> None:
        """Compare sizes and, before anything is made, evaluate the objective of one training image.

        Raises:
            InputError: If sizes differ, or the objective needs what a training image does not have.
        """
        if self._given is not None:
            self._check_size(self._given, batch["image"])
            return
        first = next(iter(self._batches))
        one: Any = {key: value[:1] for key, value in first.items() if isinstance(value, Tensor)}
        self._check_size(one["image"][0], batch["image"])
        one = placed(one, batch["image"])
        try:
            with torch.no_grad():
                self._value(task, one, [_bare], 0.0)(one["image"], Streams(0, (0,)))
        except KeyError as error:
            raise InputError(
                f"{type(self.objective).__name__} of {type(task).__name__} needs {error}, which training "
                "images do not have. Set an objective that needs no target, such as FeatureDistance, or for "
                "retrieval task.attack to clean; or apply a perturbation from a file."
            ) from error

    def craft(self, task: AttackedTask, batch: Batch, through: Sequence[Purify], streams: Streams) -> Tensor:
        """Add the perturbation to the images of a batch, once it is made; see `Attack`.

        Raises:
            InputError: If it is of another size.
        """
        image = batch["image"]
        perturbation = self._given
        if perturbation is None:
            perturbation = self._of(task, through, image, streams.seed)
        self._check_size(perturbation, image)
        perturbation = perturbation.to(image).expand_as(image)
        note_zero(streams, perturbation)
        return (image + perturbation).clamp(0, 1)

    def _check_size(self, perturbation: Tensor, image: Tensor) -> None:
        (height, width), (rows, columns) = perturbation.shape[-2:], image.shape[-2:]
        if (height, width) != (rows, columns):
            what = f"{self.file} holds a perturbation" if self.file else "training images are"
            raise InputError(
                f"{what} of {height} x {width} pixels (height x width), but the test images are of {rows} x "
                f"{columns}; expected one size. Set it in the data module"
                + (", or name another file." if self.file else ".")
            )

    # Making it

    def _of(self, task: AttackedTask, through: Sequence[Purify], image: Tensor, seed: int) -> Tensor:
        """Return the perturbation for what is seen: as it is at hand, kept, or made and kept."""
        device = image.device.type
        bits = (image.dtype, torch.is_autocast_enabled(device), torch.get_autocast_dtype(device))
        key = (self._images_seen, self.eot, seed, *bits, task, *through)
        if key not in self._made:
            self._made[key] = self._find(task, through, image, seed, bits)
        return self._made[key]

    def _find(
        self, task: AttackedTask, through: Sequence[Purify], image: Tensor, seed: int, bits: tuple[Any, ...]
    ) -> Tensor:
        made = f"{type(task).__name__} seen through {' and '.join(map(str, through))}"
        path = self._place(task, through, seed, bits)
        if path is not None and path.is_file():
            try:
                return read_perturbation(path, self.eps, self.norm)
            except InputError as error:
                _note(f"it is made anew, as {error}")
        _note(f"making a universal perturbation for {made}" + (f", to be kept as {path}." if path else "."))
        steps = Steps(self.eps, self.norm, self.step_size, self.epochs, self.eot)
        perturbation = steps.climb(
            self._batches, lambda batch, done: self._value(task, batch, through, done), image, seed
        ).cpu()
        if path is not None:
            try:
                write_perturbation(path, perturbation, self.eps, self.norm, made)
            except InputError as error:  # the run goes on with what it has
                _note(f"a universal perturbation is not kept: {error}")
        return perturbation

    def _place(
        self, task: AttackedTask, through: Sequence[Purify], seed: int, bits: tuple[Any, ...]
    ) -> Path | None:
        """Return where it is kept, by all that it depends on; None where that cannot be told."""
        purifiers = [one.purifier if isinstance(one, Through) else one for one in through]
        settings = [(one.level, one.known) if isinstance(one, Through) else None for one in through]
        try:
            looked = [Looks().at(self), *map(self._looks.at, (task, *purifiers))]
            code = code_of({module for one in looked for module in one.modules})
        except NoFingerprintError as error:
            _note(f"a universal perturbation is not kept: {error}.")
            return None
        digests = [one.digest for one in looked]
        name = Fingerprint().of(digests, settings, seed, bits, code, arithmetic())
        return self.folder / f"{name}.safetensors"

    def _value(self, task: AttackedTask, batch: Batch, through: Sequence[Purify], progress: float) -> Value:
        value = at(average([self.objective.bind(task, batch, purify) for purify in through]), progress)
        clip = torch.inf if self.clip is None else self.clip
        return lambda image, streams: value(image, streams).clamp(max=clip)


def _bare(image: Tensor, streams: Streams) -> Tensor:
    return image


def _is_first() -> bool:
    """Tell whether this is the first of several processes, or the only one."""
    return not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0


def _note(said: str) -> None:
    if _is_first():
        print(f"Note: {said}", file=sys.stderr)
