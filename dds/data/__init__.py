from dds.data.base import BaseDataModule
from dds.data.camvid import CamVid
from dds.data.cifar10 import Cifar10
from dds.data.scenes import Scenes

__all__ = ["BaseDataModule", "CamVid", "Cifar10", "Scenes"]
