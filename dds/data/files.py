"""Opening image files that may be damaged, or made to do harm."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

from dds.errors import InputError

MAX_PIXELS = 2**26
"""The most pixels of an image: 8192 x 8192, 0.8 GB as float32, a little less than what Pillow warns of."""

_MAX_ASPECT = 100  # resizing the shorter side makes a strip larger by its aspect ratio
_LIMITS = (
    f"expected at most {MAX_PIXELS:,} pixels (8192 x 8192), and a longer side of at most {_MAX_ASPECT} times "
    "the shorter. Shrink it, or cut it into pieces"
)
_FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # not EPS, for which Pillow runs a program


def read_image(path: Path, mode: str | None = "RGB") -> Tensor:
    """Read an image file.

    Args:
        path: The file.
        mode: Pillow's mode that pixels are converted to; None: as they are stored.

    Returns:
        `[C, H, W]`, uint8 where the file has 8 bits.

    Raises:
        InputError: Naming the file if it cannot be opened (`open_image`), is damaged, or has more than 8 bits
            where a mode is asked for, to which Pillow would cut all large values off.
    """
    with open_image(path) as file:
        if mode and file.mode.startswith(("I", "F")):
            raise InputError(
                f"{path} has 16 bits or more for each pixel (mode {file.mode}); expected 8. Convert it, with "
                "the scale that its values have."
            )
        return pil_to_tensor(file.convert(mode) if mode else file)  # type: ignore[no-any-return]


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """Open an image file; its pixels are not decoded before its size is found sensible.

    Raises:
        InputError: Naming the file if it is missing, damaged, in a format other than BMP, JPEG, PNG, PPM,
            TIFF and WebP, or of a size that `check_pixels` refuses.
    """
    try:
        with Image.open(path, formats=_FORMATS) as file:
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


def read_lines(path: Path) -> list[str]:
    """Read the lines of a list of files, without those that are empty.

    Raises:
        InputError: Naming the list if it is no text.
    """
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text in UTF-8 ({error}). Download it again.") from error


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
