import torch.nn.functional as F
from torch import Tensor

from dds.errors import InputError


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Mirror the right and lower edge until both sides are multiples; crop the result with `[..., :H, :W]`.

    Args:
        image: `[B, C, H, W]`.
        multiple: What the network's sides must divide by.

    Raises:
        InputError: If the image is too small to be mirrored so far.
    """
    height, width = image.shape[-2:]
    down, right = -height % multiple, -width % multiple
    if not (down or right):
        return image
    if down >= height or right >= width:
        raise InputError(
            f"images of {height}x{width} are too small for a network whose sides divide by {multiple}; "
            f"expected at least {multiple // 2 + 1} pixels a side. Use larger images or a shallower network."
        )
    return F.pad(image, (0, right, 0, down), mode="reflect")
