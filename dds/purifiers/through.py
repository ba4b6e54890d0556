from dataclasses import dataclass, replace

from torch import Tensor

from dds.models.diffusion.schedule import NoiseLevel
from dds.noise import Streams
from dds.purifiers.base import Purifier


@dataclass(frozen=True)
class Through:
    """What an attacker looks through, a function of images and noise; two are equal that are the same.

    Attributes:
        purifier: The purifier; None: nothing.
        level: Its noise level.
        known: The streams of the very noise in use, of whatever images; None: the attacker draws its own.
    """

    purifier: Purifier | None = None
    level: NoiseLevel | None = None
    known: Streams | None = None

    def __str__(self) -> str:
        if self.purifier is None:
            return "nothing"
        return f"{type(self.purifier).__name__} {self.level or ''}".rstrip()

    def __call__(self, image: Tensor, streams: Streams) -> Tensor:
        """Show images `[B, 3, H, W]`."""
        if self.purifier is None:
            return image
        own = replace(self.known, index=streams.index) if self.known else streams  # of the images shown now
        shown = image.clone()  # a purifier, or its network, may work in place
        return self.purifier(shown, self.level, own)  # type: ignore[no-any-return]
