from abc import ABC, abstractmethod

from torch import Tensor, nn

from dds.models.schedule import NoiseLevel
from dds.noise import Streams


class Purifier(nn.Module, ABC):
    """What stands between the attacker's image and the task: image in, image out, differentiable."""

    network_calls: int
    """How often one purification calls the network."""

    @abstractmethod
    def level(self, given: int | dict[str, float]) -> NoiseLevel:
        """Read a noise level as users write it: a t, or `{sigma: 0.25}`.

        Raises:
            InputError: If this purifier cannot work at that level.
        """

    @abstractmethod
    def forward(self, image: Tensor, level: NoiseLevel, streams: Streams) -> Tensor:
        """Purify images.

        Args:
            image: `[B, 3, H, W]` in [0, 1].
            level: How much noise is added and removed.
            streams: Where each image's noise comes from.

        Returns:
            `[B, 3, H, W]`, in [0, 1] unless the purifier was told not to clamp.
        """

    def extra_repr(self) -> str:
        """Name the cost in `print(purifier)`."""
        return f"network_calls={self.network_calls}"
