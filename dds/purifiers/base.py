from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from dds.errors import InputError
from dds.models.diffusion.schedule import NoiseLevel
from dds.noise import Streams
from dds.purifiers.straight_through import straight_through


class Purifier(nn.Module, ABC):
    """What stands between the attacker's image and the task: image in, image out, with a gradient."""

    random: bool = True
    """Whether two draws differ."""

    has_levels: bool = True
    """Whether it works at a noise level; one that does not belongs under `protocol.defences`."""

    differentiable: bool = True
    """Whether the gradient is the function's own; else some step of it is `straight_through`."""

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

    def calls(self, level: NoiseLevel) -> int:
        """Count how often one purification calls the network; once, unless a subclass says otherwise."""
        return 1

    def calls_again(self, level: NoiseLevel) -> int:
        """Count the forward calls that the gradient of one purification makes once more, to save memory."""
        return 0

    def certified_sigma(self, level: NoiseLevel | None) -> float:
        """Return the standard deviation of the noise through which alone the image is seen.

        On it every certificate rests: a radius about the user's pixels holds behind whatever adds Gaussian
        noise to them first and looks at nothing but the sum afterwards. A subclass that does so says which.

        Args:
            level: The noise level in use; None: a purifier that has none.

        Returns:
            sigma in [0, 1] pixel units.

        Raises:
            InputError: If a radius would not hold, saying why.
        """
        raise no_certificate(self, "it does not say that it sees images through Gaussian noise alone")


class Transformation(Purifier):
    """A purifier without a noise level and without a network; a subclass says what it does to images.

    Where that is not `differentiable`, the gradient passes through as if nothing had been done.
    """

    random = False
    has_levels = False

    @abstractmethod
    def transform(self, image: Tensor, streams: Streams) -> Tensor:
        """Transform images, each independently of the others.

        Args:
            image: `[B, 3, H, W]` in [0, 1].
            streams: Where each image's random numbers come from.

        Returns:
            `[B, 3, H, W]` in [0, 1].
        """

    def calls(self, level: NoiseLevel) -> int:
        """Return 0: there is no network."""
        return 0

    def level(self, given: int | dict[str, float]) -> NoiseLevel:
        """Refuse any noise level."""
        raise no_levels(self)

    def certified_sigma(self, level: NoiseLevel | None) -> float:
        """Refuse certificates: what adds no noise is smoothed by nothing."""
        raise no_certificate(self, "it adds no Gaussian noise to the pixels")

    def forward(self, image: Tensor, level: NoiseLevel | None, streams: Streams) -> Tensor:
        """Transform `[B, 3, H, W]` images in [0, 1]; the level counts for nothing."""
        if self.differentiable:
            return self.transform(image, streams)
        with torch.no_grad():
            exact = self.transform(image, streams)
        return straight_through(exact, image)


def no_levels(purifier: Purifier) -> InputError:
    """Return the error for a noise level given to a purifier that has none."""
    return InputError(
        f"{type(purifier).__name__} has no noise level; expected a purifier that adds noise and removes it, "
        "such as DiffusionDenoiser. Name it under protocol.defences instead."
    )


def no_certificate(purifier: Purifier, reason: str) -> InputError:
    """Return the error for a purifier behind which no radius about the user's pixels holds."""
    return InputError(
        f"{type(purifier).__name__} has no certificate: {reason}. Expected a purifier that begins with "
        "Gaussian noise: DiffusionDenoiser, GaussianDenoiser, MultiStepDenoiser, NoiseOnly, a Chain that "
        "starts with one."
    )
