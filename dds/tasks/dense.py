import torch.nn.functional as F
from torch import Tensor

from dds.errors import InputError
from dds.models.padding import pad_to_multiple
from dds.models.size_multiple import size_multiple
from dds.tasks.base import BaseTask


class DenseTask(BaseTask):
    """A task with an answer for each pixel; any network that returns `[B, C, h, w]`, or `[B, h, w]`.

    Images whose sides the network cannot divide are padded, and outputs of another size are interpolated to
    the image's.
    """

    localised = True

    def forward(self, image: Tensor) -> Tensor:
        """Return the network's output, `[B, C, H, W]`, for images `[B, 3, H, W]` in [0, 1]."""
        height, width = image.shape[-2:]
        padded = image if self.input_size is not None else pad_to_multiple(image, size_multiple(self.model))
        output = super().forward(padded)
        output = output[:, None] if output.ndim == 3 else output  # one channel, as transformers' depth
        if output.ndim != 4:
            raise InputError(
                f"the network returns {tuple(output.shape)}; expected [B, channels, h, w], one value or "
                "logit of each class for each pixel. Name a network for segmentation or depth."
            )
        if output.shape[-2:] != padded.shape[-2:]:
            output = F.interpolate(output, padded.shape[-2:], mode="bilinear", align_corners=False)
        return output[..., :height, :width]
