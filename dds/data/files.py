"""Opening files that may be damaged, or made to do harm."""

import codecs
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

from dds.data.stored_file import StoredFile
from dds.errors import InputError

ImageFile = Path | StoredFile

MAX_PIXELS = 2**26
"""The most pixels of an image: 8192 x 8192, 0.8 GB as float32, a little less than what Pillow warns of."""

_MAX_ASPECT = 100  # resizing the shorter side makes a strip larger by its aspect ratio
_LIMITS = (
    f"expected at most {MAX_PIXELS:,} pixels (8192 x 8192), and a longer side of at most {_MAX_ASPECT} times "
    "the shorter. Shrink it, or cut it into pieces"
)
_FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # not EPS, for which Pillow runs a program

IMAGE_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
"""How the names of image files end, in lower case."""

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # from how pixels are stored to how EXIF has them shown
_ON_ITS_SIDE = (5, 6, 7, 8)

_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # begins like UTF-16's, so it comes first
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_image(path: ImageFile) -> Tensor:
    """Read an image file as a picture; see `to_picture`.

    Returns:
        `[3, H, W]` uint8.

    Raises:
        InputError: Naming the file if it cannot be opened (`open_image`), is damaged, or has more than 8
            bits.
    """
    with open_image(path) as file:
        return to_picture(file, path)


def to_picture(image: Image.Image, name: object) -> Tensor:
    """Bring an image of any kind to RGB, the one way for all data.

    It is upright, as EXIF has it shown and as annotations speak of it. Grey is three equal channels, one bit
    is black or white, the indices of a palette are its colours, CMYK is converted without colour profiles,
    as Pillow does. Transparency is dropped, and the colours that lie under it show, as in torchvision and
    timm.

    Args:
        image: Opened by Pillow.
        name: What it is called in messages.

    Returns:
        `[3, H, W]` uint8.

    Raises:
        InputError: If it has more than 8 bits for each value: nothing says which of them is white.
    """
    if _is_deep(image):
        raise InputError(
            f"{name} has 16 bits or more for each pixel (mode {image.mode}); expected 8. Convert it, with "
            "the scale that its values have."
        )
    return pil_to_tensor(_upright(image).convert("RGB"))  # type: ignore[no-any-return]


def _is_deep(image: Image.Image) -> bool:
    """Tell whether there are more than 8 bits, which Pillow cuts off or scales."""
    raw, most = _coding(image)
    return image.mode.startswith(("I", "F")) or most > 255 or bool(re.search(";16[BLN]", raw))


def read_values(path: ImageFile, palette: bool = False) -> Tensor:
    """Read an image file whose pixels are values, such as classes or depths: as they are stored, upright.

    Args:
        path: The file.
        palette: Whether the indices of a palette are such values.

    Returns:
        `[C, H, W]` in the file's own type.

    Raises:
        InputError: Naming the file if it cannot be opened (`open_image`), is damaged, or has values which
            are not stored, or which Pillow scales when it reads them.
    """
    with open_image(path) as file:
        problem = _changed_values(file) or (file.mode == "P" and not palette and "colours of a palette")
        if problem:
            raise InputError(
                f"{path} holds {problem}; expected each pixel's own value. Write it again from its source, "
                "as PNG or TIFF of one channel with 8 or 16 bits."
            )
        return to_values(file)


def to_values(image: Image.Image) -> Tensor:
    """Return the values of an image's pixels as they are, upright, `[C, H, W]` in their own type."""
    values = np.array(_upright(image))
    values = values.astype(values.dtype.newbyteorder("="))
    return torch.from_numpy(values.reshape(*values.shape[:2], -1)).permute(2, 0, 1)


def _changed_values(file: Image.Image) -> str:
    """Say what of an opened file's values is not as its source had them; nothing if all is."""
    if file.format in ("JPEG", "MPO", "WEBP") or "jpeg" in str(file.info.get("compression")):
        return "values that its compression has changed"
    raw, most = _coding(file)
    if file.mode == "1" or raw.startswith(("L;2", "L;4")):
        return "fewer than 8 bits for each pixel, which readers scale differently"
    if raw.startswith("L;I"):
        return "inverted values (white is 0)"
    if most not in (255, 65535):
        return f"values from 0 to {most}, which readers scale to 255 or 65535"
    return ""


def _coding(file: Image.Image) -> tuple[str, int]:
    """Return how an opened file's pixels are stored, by Pillow's name, and PPM's largest value (else 255)."""
    coded: Any = file.tile[0] if getattr(file, "tile", None) else None  # type: ignore[attr-defined]
    raw, *more = coded.args if coded and isinstance(coded.args, tuple) else (coded and coded.args,)
    return str(raw), more[-1] if coded and coded.codec_name.startswith("ppm") else 255


def image_size(path: ImageFile) -> tuple[int, int]:
    """Return height and width of a picture as `read_image` returns it; its first bytes say."""
    with open_image(path) as file:
        turned = file.format != "TIFF" and _orientation(file) in _ON_ITS_SIDE  # Pillow turns TIFF by itself
        return (file.width, file.height) if turned else (file.height, file.width)


def _upright(file: Image.Image) -> Image.Image:
    file.load()
    turn = _TURNS.get(_orientation(file))
    return file if turn is None else file.transpose(turn)


def _orientation(file: Image.Image) -> int:
    try:
        found = Image.Image.getexif(file).get(_ORIENTATION)  # PNG's own would decode all pixels first
    except Exception:  # a damaged note on a whole picture, which is shown as it is stored
        return 1
    return found if isinstance(found, int) else 1


@contextmanager
def open_image(path: ImageFile) -> Iterator[Image.Image]:
    """Open an image file; its pixels are not decoded before its size is found sensible.

    Raises:
        InputError: Naming the file if it is missing, damaged, in a format other than BMP, JPEG, PNG, PPM,
            TIFF and WebP, or of a size that `check_pixels` refuses.
    """
    try:
        with path.open("rb") as content, Image.open(content, formats=_FORMATS) as file:
            check_pixels(path, file.height, file.width)
            yield file
    except InputError:
        raise
    except Image.DecompressionBombError as error:  # Pillow's own check, before its caller learns the size
        raise InputError(f"{path} is not decoded ({error}); {_LIMITS}.") from error
    except Exception as error:  # a damaged file raises almost anything
        raise InputError(
            f"{path} cannot be read as an image: {error}. Download it again; another format than "
            f"{', '.join(_FORMATS)} must be converted to one of them."
        ) from error


def read_text(path: Path) -> str:
    """Read a text in UTF-8, in UTF-16 or 32 with its mark, or else in Western Europe's code page.

    Raises:
        InputError: Naming the file if it is no text.
    """
    content = path.read_bytes()
    marked = next((name for mark, name in _BOMS.items() if content.startswith(mark)), None)
    for encoding in [marked] if marked else ["utf-8", "cp1252", "latin-1"]:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise InputError(f"{path} is no text in UTF-8, UTF-16 or Windows-1252. Download it again, or save it so.")


def read_lines(path: Path) -> list[str]:
    """Read the lines of a list of files, without those that are empty; see `read_text`."""
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]


def check_pixels(what: object, height: int, width: int) -> None:
    """Refuse an absurd size before room is made for it.

    Args:
        what: What has this size, for the message.
        height: As its file says.
        width: As its file says.

    Raises:
        InputError: If there is no pixel, there are more than `MAX_PIXELS`, or they form a thin strip.
    """
    short, long = sorted((height, width))
    if short < 1 or short * long > MAX_PIXELS or long > _MAX_ASPECT * short:
        raise InputError(f"{what} has {height} x {width} pixels; {_LIMITS}.")
