from torchvision.datasets import CIFAR100

from dds.data.cifar10 import Cifar10


class Cifar100(Cifar10):
    """CIFAR-100, its 100 fine classes: the official python files, or an `.npz` file as for `Cifar10`."""

    official = CIFAR100
