from dds.purifiers.base import Purifier
from dds.purifiers.diffusion import DiffusionDenoiser
from dds.purifiers.gaussian import GaussianDenoiser

__all__ = ["DiffusionDenoiser", "GaussianDenoiser", "Purifier"]
