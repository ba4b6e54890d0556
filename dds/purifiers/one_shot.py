from abc import abstractmethod

from torch import Tensor

from dds.models.diffusion.schedule import NoiseLevel, NoiseSchedule
from dds.noise import Streams
from dds.purifiers.base import Purifier


class OneShot(Purifier):
    """Adds Gaussian noise and removes it at once; a subclass says how both is done for given noise."""

    schedule: NoiseSchedule
    """Which noise belongs to a level."""

    def level(self, given: int | dict[str, float]) -> NoiseLevel:
        """Read a noise level, `t` or `{sigma: s}`, in the purifier's schedule."""
        return self.schedule.level(given)

    def forward(self, image: Tensor, level: NoiseLevel, streams: Streams) -> Tensor:
        """Purify `[B, 3, H, W]` images in [0, 1] with noise drawn from their streams."""
        return self.denoise(image, level, streams.normal(image))

    @abstractmethod
    def denoise(self, image: Tensor, level: NoiseLevel, noise: Tensor) -> Tensor:
        """Purify with noise that the caller gives.

        Args:
            image: `[B, 3, H, W]` in [0, 1].
            level: How much of the noise is added.
            noise: Standard normal, the image's shape.

        Returns:
            `[B, 3, H, W]`; in [0, 1] unless the purifier was told not to clamp.
        """
