from pathlib import Path

from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

from dds.errors import InputError


def read_image(path: Path, mode: str | None = "RGB") -> Tensor:
    """Read an image file.

    Args:
        path: The file.
        mode: Pillow's mode that pixels are converted to; None: as they are stored.

    Returns:
        `[C, H, W]`, uint8 where the file has 8 bits.

    Raises:
        InputError: Naming the file if it is missing or damaged.
    """
    try:
        with Image.open(path) as file:
            return pil_to_tensor(file.convert(mode) if mode else file)  # type: ignore[no-any-return]
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be read as an image: {error}. Download it again.") from error
