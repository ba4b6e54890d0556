"""Images as PNG files of 8 bits, whole or not there."""

import hashlib
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from dds.batch import to_uint8
from dds.data.files import open_image
from dds.errors import InputError
from dds.whole_file import REMEDY, whole_file, writing

_SOURCE = "source"


def write_png(image: Tensor, path: Path, source: str = "", remedy: str = REMEDY) -> None:
    """Write an image, each value rounded to the nearest grey level.

    Args:
        image: `[3, H, W]` in [0, 1].
        path: The file; its folders are made.
        source: What it was made of, for `source_of`.
        remedy: As for `whole_file`.
    """
    noted = PngInfo()
    noted.add_text(_SOURCE, source)
    with writing(path, remedy):
        path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path, remedy) as file:
        Image.fromarray(to_uint8(image[None])[0]).save(file, "PNG", pnginfo=noted if source else None)


def source_of(path: Path) -> str | None:
    """Return what a file says it was made of; None if it says nothing, is damaged or not there."""
    try:
        with open_image(path) as file:
            return dict(file.info).get(_SOURCE)
    except InputError:
        return None


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
