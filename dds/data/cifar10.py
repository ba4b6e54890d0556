from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.datasets import CIFAR10

from dds.data.base import BaseDataModule, Sample, Split
from dds.errors import InputError

Array = NDArray[Any]

_MAX_BYTES = 2**32  # all is held in memory


class Cifar10(BaseDataModule):
    """CIFAR-10: the official python batches, or an `.npz` file with `images` and `labels`.

    Args:
        root: Folder that holds `cifar-10-batches-py`, or an `.npz` file, which then serves every split.
        download: Fetch the official archive if it is not there.
        **options: Those of `BaseDataModule`.
    """

    official: ClassVar[type[CIFAR10]] = CIFAR10
    """Torchvision's reader of the official files."""

    def __init__(
        self,
        root: str = "data",
        download: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.root, self.download = Path(root).expanduser(), download

    def load(self, split: Split) -> Dataset[Sample]:
        """Open a split; `val` and `test` are both the official test images."""
        images, labels = self._read_npz() if self.root.suffix == ".npz" else self._read_official(split)
        if images.ndim != 4 or images.shape[1:] != (32, 32, 3) or images.dtype != np.uint8:
            raise InputError(
                f"{self.root} has images {images.dtype} {images.shape}; expected uint8 [N, 32, 32, 3]. "
                f"{self._remedy}"
            )
        if len(images) != len(labels):
            raise InputError(f"{self.root} has {len(images)} images but {len(labels)} labels. {self._remedy}")
        return _Arrays(torch.from_numpy(images).permute(0, 3, 1, 2), torch.as_tensor(labels).long())

    def _read_npz(self) -> tuple[Array, Array]:
        if not self.root.is_file():
            raise InputError(f"{self.root} does not exist. {self._remedy}")
        try:
            with np.load(self.root, allow_pickle=False) as file:
                self._check(
                    {part.filename.removesuffix(".npy"): part.file_size for part in file.zip.filelist}
                )
                return file["images"], file["labels"]
        except InputError:
            raise
        except Exception as error:  # a damaged archive raises almost anything
            raise InputError(f"{self.root} cannot be read as arrays: {error}. {self._remedy}") from error

    def _check(self, sizes: Mapping[str, int]) -> None:
        """Refuse an archive by its table before it is unpacked; no more bytes are read than that says."""
        if not {"images", "labels"} <= set(sizes):
            raise InputError(
                f"{self.root} holds {', '.join(sizes)}; expected images and labels. {self._remedy}"
            )
        largest = max(sizes.values())
        if largest > _MAX_BYTES:
            raise InputError(
                f"{self.root} would unpack to {largest:,} bytes; expected at most {_MAX_BYTES:,}, about a "
                "million images. Split it."
            )

    def _read_official(self, split: Split) -> tuple[Array, Array]:
        try:
            dataset = self.official(self.root, train=split == "train", download=self.download)
        except RuntimeError as error:
            raise InputError(
                f"no {type(self).__name__} under {self.root} ({error}). {self._remedy}"
            ) from error
        return dataset.data, np.asarray(dataset.targets)

    @property
    def _remedy(self) -> str:
        return (
            f"Download {self.official.filename} (cs.toronto.edu/~kriz/cifar.html), unpack it and set "
            f"data.root to the folder that holds {self.official.base_folder}; set data.download=true to have "
            "that done; or set data.root to an .npz file with `images` [N, 32, 32, 3] uint8 and `labels` [N]."
        )


class _Arrays(Dataset[Sample]):
    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        return {"image": self.images[index].float() / 255, "label": self.labels[index]}

    def size_of(self, index: int) -> tuple[int, int]:
        """Return height and width."""
        return 32, 32
