from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor

from dds.attacks.base import TOLERANCE, Attack, one_of
from dds.attacks.objectives.base import AttackedTask, Calls, Purify
from dds.batch import Batch
from dds.data import BaseDataModule
from dds.data.files import image_size, read_image
from dds.data.identity import digest_of
from dds.data.listing import list_images
from dds.data.naming import images_by_name
from dds.errors import InputError
from dds.noise import Streams

_NAMED = 3  # images in a message

_REMEDY = (
    "Expected an image file for each image of the data set, called like its file below the folder of all, "
    "with any suffix, or by its place where it is no file (000012.png)."
)

_AS_SHOWN = "Attack images as the data module shows them; --save_attacked=true leaves them in attacked/clean."


class AttackedImages(Attack):
    """Images that another tool attacked, read from files of 8 bits and measured as they are.

    Each is found by the name of the data set's image: the path of its file below the folder of all test
    images, without the suffix; or, where it is no file, its place in the data set, as `000012`. It is of the
    size that the data module gives the image.

    What its maker saw of the defence is not known, so it is measured as by an attacker who sees `none`.

    Args:
        folder: Where the files are, anywhere below it.
        eps: Budget in [0, 1] pixel units, e.g. `8/255`, which each image is checked against. Half a grey
            level of each value is allowed besides, as files are rounded.
        norm: `linf` or `l2`.
    """

    rounding = 0.5 / 255

    def __init__(self, folder: str, eps: float | str = "8/255", norm: Literal["linf", "l2"] = "linf") -> None:
        super().__init__(eps)
        one_of("norm", norm, "linf", "l2")
        self.folder, self.norm = folder, norm
        self._place = Path(folder).expanduser()
        self._files: dict[int, Path] = {}

    @property
    def sees_defence(self) -> bool:
        """It was made elsewhere."""
        return False

    @property
    def needs_gradient(self) -> bool:
        """It was made elsewhere."""
        return False

    @property
    def task_calls(self) -> Calls:
        """None: it was made elsewhere."""
        return Calls()

    @property
    def purifier_calls(self) -> Calls:
        """None likewise."""
        return Calls()

    def identity(self) -> str:
        """Tell the files by their names and sizes; see `digest_of`."""
        return digest_of(list_images(self._place))

    def prepare(self, data: BaseDataModule) -> None:
        """Find the file of each image, and compare sizes.

        Of the data set, only the first image is opened, and those whose file has another size than its.

        Raises:
            InputError: Naming the images that have none, or a file of another size.
        """
        found, names = images_by_name(self._place, _REMEDY), data.image_names()
        images: Any = data.test_dataset()
        wanted = {index: names[index] for index in images.indices}
        missing = [name for name in wanted.values() if name not in found]
        if missing:
            some = ", ".join(missing[:_NAMED]) + (", …" if len(missing) > _NAMED else "")
            raise InputError(f"{self.folder} lacks {len(missing)} of {len(wanted)} images: {some}. {_REMEDY}")
        self._files = {index: found[name] for index, name in wanted.items()}
        first = _size(images[0]["image"])
        for place, path in enumerate(self._files.values()):
            if place == 0 or image_size(path) != first:
                _check_size(path, image_size(path), _size(images[place]["image"]))

    def check(self, task: AttackedTask, batch: Batch) -> None:
        """Read the first image; see `Attack`."""
        self.craft(task, batch, (), Streams(0, (0,)))

    def craft(self, task: AttackedTask, batch: Batch, through: Sequence[Purify], streams: Streams) -> Tensor:
        """Read the images of a batch; see `Attack`.

        Raises:
            InputError: Naming a file that is damaged, or too far from its image.
        """
        paths = [self._files[index] for index in batch["index"].tolist()]
        return torch.stack([self._read(*pair) for pair in zip(paths, batch["image"], strict=True)])

    def _read(self, path: Path, image: Tensor) -> Tensor:
        attacked = (read_image(path).float() / 255).to(image)
        _check_size(path, _size(attacked), _size(image))
        spent = self.spent(attacked[None], image[None]).item()
        if spent > self.eps + TOLERANCE:
            raise InputError(
                f"{path} is {self.norm} {spent:.4g} ({spent * 255:.4g}/255) from its image, rounding left "
                f"out; expected at most eps={self.eps:.4g} ({self.eps * 255:.4g}/255). Set the eps that it "
                f"was made with. {_AS_SHOWN}"
            )
        return attacked


def _size(image: Tensor) -> tuple[int, int]:
    return cast(tuple[int, int], tuple(image.shape[1:]))


def _check_size(path: Path, size: tuple[int, int], expected: tuple[int, int]) -> None:
    if size != expected:
        raise InputError(
            f"{path} has {size[0]} x {size[1]} pixels (height x width); expected {expected[0]} x "
            f"{expected[1]}. {_AS_SHOWN}"
        )
