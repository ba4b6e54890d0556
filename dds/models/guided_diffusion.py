"""OpenAI's guided diffusion by the name that configurations use; see `dds.models.diffusion`."""

from dds.models.diffusion.guided_diffusion import guided_diffusion

__all__ = ["guided_diffusion"]
