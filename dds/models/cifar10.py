"""Networks for 32x32 images whose public weights `dds/configs/cls_cifar10.yaml` uses."""

import torch.nn.functional as F
from torch import Tensor, nn


class _Block(nn.Module):
    """Two 3x3 convolutions with a shortcut that subsamples and pads with zero channels (option A)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.extra = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        shortcut = x[:, :, :: self.stride, :: self.stride]
        return F.relu(out + F.pad(shortcut, (0, 0, 0, 0, self.extra // 2, self.extra // 2)))


class CifarResNet(nn.Module):
    """The residual network of He et al. (CVPR 2016, section 4.2) for 32x32 images.

    Args:
        depth: 6n + 2 layers: 20, 32, 44, 56 or 110.
        num_classes: Number of classes.
    """

    def __init__(self, depth: int = 56, num_classes: int = 10) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"depth {depth} is not 6n + 2; expected 20, 32, 44, 56 or 110")
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._stage(16, 16, blocks, stride=1)
        self.layer2 = self._stage(16, 32, blocks, stride=2)
        self.layer3 = self._stage(32, 64, blocks, stride=2)
        self.linear = nn.Linear(64, num_classes)

    @staticmethod
    def _stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
        first = _Block(inputs, outputs, stride)
        return nn.Sequential(first, *(_Block(outputs, outputs, 1) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[B, num_classes]` of normalised images `[B, 3, 32, 32]`."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))  # type: ignore[no-any-return]


class CifarDenoiser(nn.Module):
    """A small DDPM noise predictor that does not look at t (its time embedding is unused).

    The layer names are those of the public checkpoint, so that it loads strictly.
    """

    def __init__(self) -> None:
        super().__init__()
        self.time_embed = nn.Embedding(1000, 64)
        self.down1 = nn.ModuleList([nn.Conv2d(3, 64, 3, padding=1)])
        self.down2 = nn.ModuleList([nn.Conv2d(64, 128, 3, stride=2, padding=1)])
        self.middle = nn.Conv2d(128, 128, 3, padding=1)
        self.up1 = nn.ModuleList([nn.ConvTranspose2d(128, 128, 4, stride=2, padding=1)])
        self.conv1x1 = nn.Conv2d(128, 64, 1)
        self.up2 = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 3, 3, padding=1))

    def forward(self, noisy: Tensor, t: Tensor) -> Tensor:
        """Return the noise in x_t, both `[B, 3, 32, 32]`; t `[B]` is not used."""
        skip = F.relu(self.down1[0](noisy))  # (B, 64, 32, 32)
        x = self.middle(F.relu(self.down2[0](skip)))  # (B, 128, 16, 16)
        x = self.conv1x1(F.relu(self.up1[0](x))) + skip  # (B, 64, 32, 32)
        return self.up2(x)  # type: ignore[no-any-return]
