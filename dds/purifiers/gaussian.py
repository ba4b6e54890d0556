import inspect
from typing import cast

from torch import Tensor, nn

from dds.errors import InputError
from dds.models.as_found import at_rest
from dds.models.diffusion.schedule import NoiseLevel, NoiseSchedule
from dds.models.padding import pad_to_multiple
from dds.models.wrappers import unwrapped
from dds.models.zoo import resolve
from dds.purifiers.one_shot import OneShot


class GaussianDenoiser(OneShot):
    """Denoised smoothing (Salman et al., NeurIPS 2020): add Gaussian noise, remove it with any denoiser.

    With x in [0, 1]: `y = x + sigma eps`, not clamped, and the answer is `D(y)` or `D(y, sigma)`. Levels have
    the names of the default linear diffusion schedule, so that a t means the same noise as it does for
    `DiffusionDenoiser`. Gradients are exact.

    Args:
        model: The denoiser, `network(y)` with y `[B, 3, H, W]`; `zoo:<name>`; or a file written by
            `train.py`.
        conditioned: The network is told the noise: `network(y, sigma)` with sigma `[B]` in [0, 1] units.
        residual: The network returns the noise in y instead of the image: `D(y) = y - network(y)`.
        clamp: Clamp the purified image to [0, 1].
        size_multiple: What the network's sides must divide by; images are padded by mirroring and cropped
            again.
        max_sigma: The most noise that the network was trained for, in [0, 1] units; None: any.
    """

    def __init__(
        self,
        model: str | nn.Module,
        conditioned: bool = False,
        residual: bool = False,
        clamp: bool = True,
        size_multiple: int = 1,
        max_sigma: float | None = None,
    ) -> None:
        super().__init__()
        if size_multiple < 1:
            raise InputError(f"size_multiple={size_multiple}; expected at least 1; 8 for three halvings.")
        self.model = at_rest(unwrapped(resolve(model)))
        _check_takes(self.model, conditioned)
        self.conditioned, self.residual, self.clamp = conditioned, residual, clamp
        self.size_multiple, self.max_sigma = size_multiple, max_sigma
        self.schedule = NoiseSchedule.from_config()

    def level(self, given: int | dict[str, float]) -> NoiseLevel:
        """Read a noise level, `t` or `{sigma: s}`, in the default linear schedule.

        Raises:
            InputError: If the schedule has no such level, or the denoiser was not trained for it.
        """
        level = super().level(given)
        if self.max_sigma is not None and level.sigma > self.max_sigma:
            raise InputError(
                f"noise level {given} is sigma={level.sigma:.4g}, more than the denoiser was trained for; "
                f"expected sigma <= {self.max_sigma}. Set lower noise_levels, or another max_sigma if the "
                "network can do more."
            )
        return level

    def certified_sigma(self, level: NoiseLevel | None) -> float:
        """Return the level's sigma: the network sees the image plus that noise, and nothing else of it."""
        assert level is not None
        return level.sigma

    def denoise(self, image: Tensor, level: NoiseLevel, noise: Tensor) -> Tensor:
        """Purify with noise that the caller gives; see `OneShot`."""
        noisy = image + level.sigma * noise
        answer = self._ask(noisy, level.sigma)
        purified = noisy - answer if self.residual else answer
        return purified.clamp(0, 1) if self.clamp else purified

    def _ask(self, noisy: Tensor, sigma: float) -> Tensor:
        height, width = noisy.shape[-2:]
        padded = pad_to_multiple(noisy, self.size_multiple)
        told = (noisy.new_full((len(noisy),), sigma),) if self.conditioned else ()
        answer = cast(Tensor, self.model(padded.clone(), *told))  # which may work in place
        if answer.shape != padded.shape:
            raise InputError(
                f"{type(self.model).__name__} returned {tuple(answer.shape)} for images of "
                f"{tuple(padded.shape)}; expected the same shape. Name a network that denoises."
            )
        return answer[..., :height, :width]


def _check_takes(model: nn.Module, conditioned: bool) -> None:
    """Refuse a network whose forward cannot be called as `conditioned` says."""
    inputs = ("noisy", "sigma") if conditioned else ("noisy",)
    try:
        inspect.signature(model.forward).bind(*inputs)
    except TypeError as error:
        raise InputError(
            f"{type(model).__name__} cannot be called with ({', '.join(inputs)}): {error}. "
            f"Set conditioned={not conditioned}, or name a network that denoises."
        ) from error
