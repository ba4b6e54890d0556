from dds.purifiers.base import Purifier
from dds.purifiers.diffusion import DiffusionDenoiser

__all__ = ["DiffusionDenoiser", "Purifier"]
