import numpy as np
import pytest
import torch
from PIL import Image

from dds.data.image_list import ImageList
from dds.errors import InputError


@pytest.fixture
def path(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png"


# Edges fall between pixels; the last reaches over the image.
@pytest.mark.parametrize("box", [[5, 6, 25, 16], [4.4, 6.5, 24.6, 17.5], [40.2, 30, 60, 45]])
def test_crops_are_those_of_pillow(path, box):
    image = ImageList([path], None, crops=[box])[0]["image"]
    expected = np.array(Image.open(path).crop(box))
    assert (image * 255).round().byte().permute(1, 2, 0).numpy().tolist() == expected.tolist()


def test_images_are_cropped_before_they_are_resized(path):
    assert ImageList([path], 10, crops=[[0, 0, 40, 20]])[0]["image"].shape == (3, 5, 10)


def test_what_is_known_comes_with_the_image(path):
    samples = ImageList([path, path], (8, 8), [{"identity": 4}, {"identity": 7}])
    assert [samples[index]["identity"] for index in (0, 1)] == [4, 7]
    assert len(samples) == 2


def test_training_images_are_sometimes_mirrored(path):
    dataset, plain = ImageList([path], None, augment=True), ImageList([path], None)[0]["image"]
    torch.manual_seed(0)
    seen = [torch.equal(dataset[0]["image"], plain) for _ in range(12)]
    assert 0 < sum(seen) < 12


@pytest.mark.parametrize("box", [[60, 0, 70, 10], [10, 10, 10, 20], [20, 10, 5, 20], [-9, -9, 0, 0]])
def test_a_crop_without_pixels(path, box):
    with pytest.raises(InputError, match=r"a\.png is to be cropped to .* 50 x 40 pixels"):
        ImageList([path], None, crops=[box])[0]


def test_a_truncated_image_is_named(path):
    path.write_bytes(path.read_bytes()[:800])
    with pytest.raises(InputError, match=r"a\.png"):
        ImageList([path], None)[0]
