from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from dds.errors import InputError
from dds.noise import Streams
from dds.numbers import real
from dds.purifiers.base import Transformation
from dds.purifiers.borders import check_reach
from dds.purifiers.straight_through import straight_through


class GaussianBlur(Transformation):
    """Gaussian blur, cut off at 4 sigma; borders are mirrored.

    Args:
        sigma: Standard deviation in pixels.
    """

    def __init__(self, sigma: float = 1.0) -> None:
        super().__init__()
        sigma = real("blur sigma", sigma)
        if not sigma > 0:
            raise InputError(f"blur sigma={sigma}; expected a positive number of pixels, such as 1.")
        self.sigma = sigma

    def transform(self, image: Tensor, streams: Streams) -> Tensor:
        """Blur `[B, 3, H, W]` images.

        Raises:
            InputError: If a side is not longer than 4 sigma.
        """
        radius = int(4 * self.sigma + 0.5)
        check_reach(image, radius, f"blur sigma={self.sigma:g}")
        blurred = image
        for kernel in ([2 * radius + 1, 1], [1, 2 * radius + 1]):  # 2 k products a pixel instead of k * k
            blurred = gaussian_blur(blurred, kernel, [self.sigma, self.sigma])
        return straight_through(blurred.clamp(0, 1), blurred)  # rounding past 1 must not stop the gradient
