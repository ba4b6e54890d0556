from dds.controls.base import Control
from dds.controls.blur import Blur
from dds.controls.brightness import Brightness
from dds.controls.contrast import Contrast
from dds.controls.crop import CropAndResize
from dds.controls.jpeg import JPEGCompression
from dds.controls.noise import GaussianNoise
from dds.controls.rotation import Rotation

__all__ = [
    "Blur",
    "Brightness",
    "Contrast",
    "Control",
    "CropAndResize",
    "GaussianNoise",
    "JPEGCompression",
    "Rotation",
]
