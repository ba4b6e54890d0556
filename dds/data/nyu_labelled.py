import importlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from dds.data.depth_images import DepthImages
from dds.data.files import check_pixels
from dds.errors import InputError

DepthField = Literal["depths", "rawDepths"]

_REMEDY = (
    "Download nyu_depth_v2_labeled.mat (2.8 GB) and splits.mat from the data set's page "
    "(cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html) into one folder."
)


class NyuLabelled(DepthImages):
    """The labelled part of NYU Depth v2 as published: `nyu_depth_v2_labeled.mat` beside `splits.mat`.

    MATLAB stores columns first, so HDF5 shows `images` as `(N, 3, W, H)` uint8 and `depths` as `(N, W, H)`
    float32 metres.

    Args:
        path: The labelled file.
        part: `trainNdxs` (795 images) or `testNdxs` (654).
        field: `depths`, with holes filled in, or `rawDepths`, as the sensor saw it.
        size: As for `DepthImages`.
        augment: As for `DepthImages`.
    """

    def __init__(
        self, path: Path, part: str, field: DepthField, size: tuple[int, int] | None, augment: bool
    ) -> None:
        super().__init__(size, augment)
        self.path, self.field = path, field
        self.numbers = _numbers(path.with_name("splits.mat"), part)
        with _open(path) as file:
            _check_layout(path, file, field, self.numbers)
            self.stored_size: tuple[int, int] = file["images"].shape[:1:-1]

    def __len__(self) -> int:
        return len(self.numbers)

    def read(self, index: int) -> tuple[str, Tensor, Tensor]:
        """Read an image and its depth; the file is opened each time, as workers cannot share it."""
        number = self.numbers[index]
        name = f"{self.field} of image {number + 1} of {self.path}"
        try:
            with _open(self.path) as file:
                image, depth = file["images"][number], file[self.field][number]  # (3, W, H), (W, H)
        except OSError as error:
            raise InputError(f"{name} cannot be read: {error}. {_REMEDY}") from error
        return name, _transposed(image), _transposed(depth).float()

    def size_of(self, index: int) -> tuple[int, int]:
        """Return height and width of an image as it is returned."""
        return self.size or self.stored_size


def _transposed(array: np.ndarray[Any, Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array.swapaxes(-1, -2)))


def _open(path: Path) -> Any:
    if not path.is_file():
        raise InputError(f"{path} does not exist. {_REMEDY}")
    try:
        return importlib.import_module("h5py").File(path, "r")
    except ModuleNotFoundError as error:
        raise InputError(
            f"{path} is HDF5 and needs h5py, which is not installed: pip install h5py."
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read as HDF5: {error}. {_REMEDY}") from error


def _numbers(path: Path, part: str) -> list[int]:
    """Return the images of a part, counted from 0; MATLAB counts from 1."""
    from scipy.io import loadmat  # takes a second to import

    if not path.is_file():
        raise InputError(f"{path} does not exist. {_REMEDY}")
    try:
        return [int(number) - 1 for number in loadmat(path, variable_names=[part])[part].ravel()]
    except Exception as error:  # a damaged file raises almost anything
        raise InputError(
            f"{path} cannot be read as the official split with {part}: {error!r}. {_REMEDY}"
        ) from error


def _check_layout(path: Path, file: Any, field: str, numbers: list[int]) -> None:
    _check_arrays(path, file, field)
    images = len(file["images"])
    outside = [number + 1 for number in numbers if not 0 <= number < images]
    if outside:
        raise InputError(f"splits.mat names image {outside[0]} of {path}, which holds {images}. {_REMEDY}")


def _check_arrays(path: Path, file: Any, field: str) -> None:
    absent = [name for name in ("images", field) if not _is_array(file, name)]
    if absent:
        raise InputError(
            f"{path} holds {', '.join(sorted(file))}; expected {' and '.join(absent)}, as arrays of its own. "
            f"{_REMEDY}"
        )
    images, depths = file["images"], file[field]
    kinds = images.dtype == np.uint8 and depths.dtype.kind == "f"
    shapes = images.ndim == 4 and (len(images), 3, *depths.shape[1:]) == images.shape
    if not kinds or not shapes or len(images) != len(depths):
        raise InputError(
            f"{path} has images {images.dtype} {images.shape} and {field} {depths.dtype} {depths.shape}; "
            f"expected (N, 3, W, H) and (N, W, H), uint8 and float. {_REMEDY}"
        )
    check_pixels(f"each image of {path}", *depths.shape[1:])


def _is_array(file: Any, name: str) -> bool:
    """Tell whether the file itself holds an array; HDF5 can also show any other file's bytes as one."""
    h5py = importlib.import_module("h5py")
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        return False
    entry = file[name]
    return isinstance(entry, h5py.Dataset) and not entry.external and not entry.is_virtual
