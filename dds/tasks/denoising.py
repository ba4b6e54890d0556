from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from dds.batch import Batch
from dds.errors import InputError
from dds.models.diffusion.denoiser import diffuse, predict
from dds.models.zoo import resolve_diffusion
from dds.noise import Streams
from dds.tasks.optimisation import adamw_one_cycle


class DenoiserTraining(LightningModule):
    """Train a diffusion network to predict noise (Ho et al. 2020, eq. 14).

    Validation measures what one-shot purification will get: the PSNR of the predicted image at each of
    `levels`.

    Args:
        model: The network: `network(noisy, t)`, images in [-1, 1]; as `DiffusionDenoiser` takes it.
        scheduler: Arguments of a diffusers `DDPMScheduler`; default: those of the model, else linear, 1000
            steps.
        levels: The t at which validation measures.
        concentration: t is drawn as `T u^concentration`, u uniform; 1 is the usual uniform draw, more spends
            more of the training on the low noise that purification uses.
        lr: Highest learning rate.
        weight_decay: Weight decay.
    """

    def __init__(
        self,
        model: str | nn.Module,
        scheduler: dict[str, Any] | None = None,
        levels: tuple[int, ...] = (10, 50, 145, 259, 396),
        concentration: float = 2.0,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__()
        self.model, self.schedule = resolve_diffusion(model, scheduler)
        if self.schedule.prediction_type != "epsilon":
            raise InputError(
                f"the scheduler's prediction_type is {self.schedule.prediction_type}; expected epsilon: "
                "training teaches to predict noise. Leave it out, and start from a network that does so."
            )
        self.levels, self.concentration = levels, concentration
        self.lr, self.weight_decay = lr, weight_decay

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the mean squared error of the predicted noise at random t."""
        image = batch["image"] * 2 - 1
        uniform = torch.rand(len(image), device=self.device)
        t = (len(self.schedule) * uniform**self.concentration).long()  # (B,)
        noise = torch.randn_like(image)
        alpha_cumprod = self._alpha_cumprod(t)
        noisy = diffuse(image, noise, alpha_cumprod)
        loss = F.mse_loss(predict(self.model, noisy, t, alpha_cumprod).noise, noise)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the PSNR of one-shot purification at each level, always on the same noise."""
        for level in self.levels:
            psnr = self._psnr(batch, level).mean()
            self.log(
                f"val/psnr_t{level}", psnr, prog_bar=True, sync_dist=True, batch_size=len(batch["image"])
            )

    def _psnr(self, batch: Batch, level: int) -> Tensor:
        image = batch["image"] * 2 - 1
        t = torch.full((len(image),), level, device=self.device)
        alpha_cumprod = self._alpha_cumprod(t)
        streams = Streams(0, tuple(batch["index"].tolist()), ("validation", level))
        noisy = diffuse(image, streams.normal(image), alpha_cumprod)
        predicted = predict(self.model, noisy, t, alpha_cumprod).image.clamp(-1, 1)
        return -10 * torch.log10((predicted - image).square().mean((1, 2, 3)) / 4)  # (B,)

    def _alpha_cumprod(self, t: Tensor) -> Tensor:
        table = self.schedule.alphas_cumprod.to(self.device, torch.float32)
        return table[t].reshape(-1, 1, 1, 1)

    def configure_optimizers(self) -> Any:
        """Train with AdamW and a one-cycle schedule."""
        return adamw_one_cycle(self, self.lr, self.weight_decay)
