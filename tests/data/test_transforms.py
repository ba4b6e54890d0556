import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms as pillow_transforms

from dds.data.transforms import resize_and_crop, resize_to
from dds.errors import InputError


def smooth_image(height=300, width=400):
    y, x = np.mgrid[:height, :width]
    return np.stack([x % 256, y % 256, (x + y) // 3 % 256], axis=2).astype(np.uint8)


def test_centre_crop_is_that_of_the_usual_imagenet_evaluation():
    image = smooth_image()
    usual = pillow_transforms.Compose([pillow_transforms.Resize(256), pillow_transforms.CenterCrop(224)])
    expected = torch.from_numpy(np.array(usual(Image.fromarray(image)))).permute(2, 0, 1).int()
    ours = resize_and_crop(256, 224, augment=False)(torch.from_numpy(image).permute(2, 0, 1)).int()
    assert ours.shape == (3, 224, 224)
    assert (ours - expected).abs().max() <= 1  # Pillow rounds between the two directions


@pytest.mark.parametrize(
    ("resize", "crop", "augment", "expected"),
    [
        (None, None, False, (30, 40)),
        (None, None, True, (30, 40)),
        (15, None, False, (15, 20)),
        (15, None, True, (15, 20)),
        (15, 12, True, (12, 12)),
        (None, 12, None, None),
    ],
)
def test_sides(resize, crop, augment, expected):
    image = torch.zeros(3, 30, 40, dtype=torch.uint8)
    if expected is None:
        with pytest.raises(InputError, match=r"crop=12 does not fit in data\.resize=None"):
            resize_and_crop(resize, crop, augment)
    else:
        assert resize_and_crop(resize, crop, augment)(image).shape[1:] == expected


def test_training_crops_differ():
    torch.manual_seed(0)
    image = torch.from_numpy(smooth_image()).permute(2, 0, 1)
    vary = resize_and_crop(256, 32, augment=True)
    assert len({vary(image).sum().item() for _ in range(5)}) == 5


@pytest.mark.parametrize(("resize", "crop"), [(0, None), (8, 0), (8, 9), (-1, None)])
def test_bad_sides(resize, crop):
    with pytest.raises(InputError, match=r"data\.(resize|crop)="):
        resize_and_crop(resize, crop, augment=False)


def test_bad_size():
    with pytest.raises(InputError, match=r"data\.size="):
        resize_to((0, 32), augment=True)
