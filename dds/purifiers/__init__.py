from dds.models.diffusion.schedule import NoiseLevel, NoiseSchedule
from dds.purifiers.base import Purifier, Transformation
from dds.purifiers.bit_depth import BitDepth
from dds.purifiers.blur import GaussianBlur
from dds.purifiers.chain import Chain
from dds.purifiers.diffusion import DiffusionDenoiser
from dds.purifiers.dithering import Dithering
from dds.purifiers.gaussian import GaussianDenoiser
from dds.purifiers.jpeg import JPEG
from dds.purifiers.latent import LatentDenoiser
from dds.purifiers.median import MedianFilter
from dds.purifiers.multi_step import MultiStepDenoiser
from dds.purifiers.noise import NoiseOnly
from dds.purifiers.one_shot import OneShot
from dds.purifiers.resize import ResizeOnly

__all__ = [
    "JPEG",
    "BitDepth",
    "Chain",
    "DiffusionDenoiser",
    "Dithering",
    "GaussianBlur",
    "GaussianDenoiser",
    "LatentDenoiser",
    "MedianFilter",
    "MultiStepDenoiser",
    "NoiseLevel",
    "NoiseOnly",
    "NoiseSchedule",
    "OneShot",
    "Purifier",
    "ResizeOnly",
    "Transformation",
]
