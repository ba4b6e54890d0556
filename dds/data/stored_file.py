from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from dds.errors import InputError

_CHANNELS = (1, 3, 4)


class Cells:
    """A column of images: of the bytes of image files, of where such lie, or of arrays.

    Args:
        table: A data set of `datasets`, in Arrow's form.
        column: Its column.
        folders: Where files may lie that a cell names; None: anywhere.
    """

    def __init__(self, table: Any, column: str, folders: tuple[Path, ...] | None) -> None:
        self.table, self.column, self.folders = table, column, folders

    def open(self, row: int) -> IO[bytes]:
        """Open a cell as an image file; an array is a TIFF then.

        Raises:
            InputError: If the cell names a file that lies elsewhere, or holds nothing.
            ValueError: If it holds an array that is no image.
        """
        cell = self.table[row][self.column][0]
        if not cell.is_valid:
            raise InputError(f"{self.column} {row} is empty. Leave the row out.")
        if not pa.types.is_struct(cell.type):
            return _as_tiff(np.asarray(cell.as_py()))
        if cell["bytes"].is_valid:
            content: IO[bytes] = pa.BufferReader(cell["bytes"].as_buffer())  # a header needs no more of it
            return content
        path = Path(cell["path"].as_py())
        if self.folders is not None and not any(_is_below(path, folder) for folder in self.folders):
            raise InputError(
                f"{self.column} {row} names {path}, which lies outside of the data set. Take data sets only "
                "from where you trust them."
            )
        return path.open("rb")


@dataclass(frozen=True)
class StoredFile:
    """An image in a cell of a table, with as much of a path as reading needs.

    Attributes:
        name: What messages call it.
        length: Bytes of the file, which tell one data set from another; 0 for arrays.
        row: The row of the cell.
        cells: The column.
    """

    name: str
    length: int
    row: int
    cells: Cells

    def __str__(self) -> str:
        return self.name

    def is_file(self) -> bool:
        """Tell whether it is there; it is."""
        return True

    def open(self, mode: Literal["rb"]) -> IO[bytes]:
        """Open it; see `Cells.open`."""
        return self.cells.open(self.row)


def _is_below(path: Path, folder: Path) -> bool:
    return path.is_relative_to(folder) and ".." not in path.parts


def _as_tiff(array: NDArray[Any]) -> IO[bytes]:
    """Write numbers, `[H, W]`, `[H, W, C]` or `[C, H, W]`, whole ones with 8 bits if these hold them."""
    if array.ndim == 3 and array.shape[0] in _CHANNELS and array.shape[2] not in _CHANNELS:
        array = array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.dtype.kind not in "biuf":
        raise ValueError(f"an array of {array.dtype} and shape {array.shape}")
    small = array.dtype.kind != "f" and (not array.size or (array.min() >= 0 and array.max() <= 255))
    kind = np.float32 if array.dtype.kind == "f" else np.uint8 if small else np.int32
    file = BytesIO()
    Image.fromarray(np.ascontiguousarray(array.astype(kind))).save(file, "TIFF")
    file.seek(0)
    return file
