from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from dds.errors import InputError
from dds.models.diffusion.schedule import NoiseLevel
from dds.noise import Streams
from dds.purifiers.base import Purifier, no_levels


class Chain(Purifier):
    """Purifiers one after the other, each with random numbers of its own.

    All members that have noise levels work at the same one; without such a member the chain has none.

    Args:
        purifiers: The first is applied first.
    """

    def __init__(self, purifiers: Sequence[Purifier]) -> None:
        super().__init__()
        if not purifiers:
            raise InputError("a Chain of no purifiers; expected at least one, by class_path and init_args.")
        self.purifiers = cast(Sequence[Purifier], nn.ModuleList(purifiers))
        self.random = any(purifier.random for purifier in purifiers)
        self.has_levels = any(purifier.has_levels for purifier in purifiers)
        self.differentiable = all(purifier.differentiable for purifier in purifiers)

    def level(self, given: int | dict[str, float]) -> NoiseLevel:
        """Read a noise level, a t or `{sigma: s}`, as the members do.

        Raises:
            InputError: If no member has levels, one cannot work at it, or they take it for different noise.
        """
        if not self.has_levels:
            raise no_levels(self)
        levels = {purifier.level(given): None for purifier in self.purifiers if purifier.has_levels}
        if len(levels) > 1:
            named = " and ".join(f"{level} (sigma={level.sigma:.4g})" for level in levels)
            raise InputError(
                f"noise level {given} is {named} for members of one Chain; expected the same. "
                "Chain purifiers with the same noise schedule."
            )
        return next(iter(levels))

    def calls(self, level: NoiseLevel) -> int:
        """Count the network calls of all members."""
        return sum(purifier.calls(level) for purifier in self.purifiers)

    def calls_again(self, level: NoiseLevel) -> int:
        """Count those that gradients make once more, of all members."""
        return sum(purifier.calls_again(level) for purifier in self.purifiers)

    def certified_sigma(self, level: NoiseLevel | None) -> float:
        """Return the first member's: what comes after the noise sees the image through it only.

        Raises:
            InputError: If the first member adds no noise to the pixels; a radius would be about its answer.
        """
        try:
            return self.purifiers[0].certified_sigma(level)
        except InputError as error:
            raise InputError(f"of a Chain the first member counts: {error}") from error

    def forward(self, image: Tensor, level: NoiseLevel | None, streams: Streams) -> Tensor:
        """Purify `[B, 3, H, W]` images in [0, 1]; None is the level of a chain that has none."""
        for i, purifier in enumerate(self.purifiers):
            image = purifier(image, level, streams.child("member", i))
        return image
