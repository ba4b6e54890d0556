from torch import Tensor

from dds.errors import InputError
from dds.models.diffusion.schedule import NoiseLevel
from dds.noise import Streams
from dds.numbers import real
from dds.purifiers.base import Transformation


class NoiseOnly(Transformation):
    """Adds Gaussian noise and removes none: what denoised smoothing has to be better than.

    Args:
        sigma: Standard deviation in [0, 1] pixel units.
    """

    random = True

    def __init__(self, sigma: float) -> None:
        super().__init__()
        sigma = real("noise sigma", sigma)
        if not sigma > 0:
            raise InputError(f"noise sigma={sigma}; expected a positive number in [0, 1] pixel units (0.25).")
        self.sigma = sigma

    def certified_sigma(self, level: NoiseLevel | None) -> float:
        """Return the sigma of the noise that is added."""
        return self.sigma

    def transform(self, image: Tensor, streams: Streams) -> Tensor:
        """Add noise to `[B, 3, H, W]` images and clamp them."""
        return (image + self.sigma * streams.normal(image)).clamp(0, 1)
