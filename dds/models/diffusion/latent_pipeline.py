"""Latent diffusion models (Rombach et al., CVPR 2022) in diffusers' own layout."""

from typing import Any, NamedTuple, cast

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel, UNet2DModel
from torch import Tensor, nn

from dds.errors import InputError
from dds.models.diffusion.diffusers_folder import DiffusersFolder
from dds.models.diffusion.empty_prompt import embed_empty_prompt

_KINDS = {
    "vae": (AutoencoderKL.__name__,),
    "unet": (UNet2DModel.__name__, UNet2DConditionModel.__name__),
}
_CONDITIONS = (
    "class_embed_type",
    "num_class_embeds",
    "addition_embed_type",
    "encoder_hid_dim",
    "encoder_hid_dim_type",
)
"""Entries of a UNet's configuration that are set where it asks for more than a latent, t and a text."""


class LatentPipeline(NamedTuple):
    """The parts of a latent diffusion model.

    Attributes:
        autoencoder: Images in [-1, 1] to latents and back.
        network: `network(latent, t)`, the denoiser of scaled latents.
        scheduler: Configuration of its scheduler.
    """

    autoencoder: AutoencoderKL
    network: nn.Module
    scheduler: dict[str, Any]


class Prompted(nn.Module):
    """A text-conditioned network that is told the same at every call.

    Args:
        network: `network(latent, t, text)`, a `UNet2DConditionModel`.
        text: `[1, L, D]`, the embedded prompt.
    """

    text: Tensor

    def __init__(self, network: UNet2DConditionModel, text: Tensor) -> None:
        super().__init__()
        self.network, self.config = network, network.config
        self.register_buffer("text", text)

    def forward(self, latent: Tensor, t: Tensor) -> Any:
        """Return the network's output for `[B, C, h, w]` latents at times `[B]`."""
        return self.network(latent, t, self.text.expand(len(latent), -1, -1))


def read_latent_pipeline(name: str) -> LatentPipeline:
    """Load a latent diffusion model, all of it from safetensors.

    A `UNet2DConditionModel` is told the empty prompt where the model has a text encoder, and zeros where it
    has none, which take the text's part in its attention away.

    Args:
        name: A folder with `vae/`, `unet/` and `scheduler/`, or the name of such a model on the hub, which is
            downloaded once, to the hub's cache.

    Returns:
        Its parts, float32.

    Raises:
        InputError: If there is no such model, a part is missing, of another kind or does not fit, or the
            network wants a class label or more than a text.
    """
    folder = DiffusersFolder.find(name)
    configs = {part: folder.read_json(f"{part}/config.json") or {} for part in _KINDS}
    for part, config in configs.items():
        _check_kind(name, part, config)
    _check_fit(name, configs["vae"], configs["unet"])
    scheduler = folder.read_json("scheduler/scheduler_config.json")
    if scheduler is None:
        raise InputError(f"{name} holds no scheduler/scheduler_config.json. {folder.remedy}")
    autoencoder = folder.read_network(AutoencoderKL, "vae", use_safetensors=True)
    return LatentPipeline(autoencoder, _read_network(folder, configs["unet"]), scheduler)


def _check_kind(name: str, part: str, config: dict[str, Any]) -> None:
    kind = config.get("_class_name", "no config.json")
    if kind not in _KINDS[part]:
        raise InputError(
            f"{name} holds {kind} in {part}/; expected {' or '.join(_KINDS[part])}: a latent diffusion model "
            "in diffusers' layout, such as stable-diffusion-v1-5/stable-diffusion-v1-5."
        )


def _check_fit(name: str, vae: dict[str, Any], unet: dict[str, Any]) -> None:
    asks = [entry for entry in _CONDITIONS if unet.get(entry) is not None]
    if asks:
        raise InputError(
            f"the network of {name} wants more than a latent and a prompt ({', '.join(asks)}), which a "
            "defence does not know. Use an unconditional one, or one like Stable Diffusion 1 or 2."
        )
    if unet.get("in_channels") != vae.get("latent_channels"):
        raise InputError(
            f"the network of {name} takes {unet.get('in_channels')} channels, its autoencoder's latents "
            f"have {vae.get('latent_channels')}; expected the same. Name one that is not for inpainting."
        )


def _read_network(folder: DiffusersFolder, config: dict[str, Any]) -> nn.Module:
    if config["_class_name"] == UNet2DModel.__name__:
        return cast(nn.Module, folder.read_network(UNet2DModel, "unet", use_safetensors=True))
    network = folder.read_network(UNet2DConditionModel, "unet", use_safetensors=True)
    if folder.has("text_encoder"):
        return Prompted(network, embed_empty_prompt(folder))
    return Prompted(network, torch.zeros(1, 1, network.config.cross_attention_dim))
