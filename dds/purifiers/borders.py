from torch import Tensor

from dds.errors import InputError


def check_reach(image: Tensor, reach: int, setting: str) -> None:
    """Refuse images whose border cannot be mirrored as far as a filter reaches.

    Args:
        image: `[B, C, H, W]`.
        reach: Pixels that the filter needs beyond the border.
        setting: What the user set, e.g. `window=5`.

    Raises:
        InputError: If a side is not longer than the reach.
    """
    height, width = image.shape[-2:]
    if reach >= min(height, width):
        raise InputError(
            f"images of {height}x{width} are too small for {setting}, which reaches {reach} pixels around; "
            f"expected at least {reach + 1} pixels a side. Use larger images or a smaller setting."
        )
