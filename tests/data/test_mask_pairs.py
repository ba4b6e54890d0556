import numpy as np
import pytest
import torch
from PIL import Image

from dds.data.mask_pairs import MaskPairs
from dds.errors import InputError

CLASSES = {0: 255, 1: 0, 2: 1}


def write_pair(folder, mask, image=None):
    """Write a mask and, unless given, an image that is black where the mask is 1 and white where it is 2."""
    image = np.repeat((mask == 2)[..., None] * 255, 3, axis=2) if image is None else image
    Image.fromarray(image.astype(np.uint8)).save(folder / "image.png")
    Image.fromarray(mask).save(folder / "mask.png")
    return [(folder / "image.png", folder / "mask.png")]


def halves(height=60, width=90):
    mask = np.ones((height, width), np.uint8)
    mask[:, width // 3 :] = 2
    mask[:5] = 0
    return mask


def test_values_become_classes_and_nothing_is_resized(tmp_path):
    mask = halves()
    sample = MaskPairs(write_pair(tmp_path, mask), CLASSES, None, False, "")[0]
    assert sample["image"].shape == (3, 60, 90)
    assert sample["mask"].dtype == torch.int64
    assert sample["mask"].tolist() == np.array([255, 0, 1])[mask].tolist()


def test_both_are_resized_alike_and_masks_hold_no_new_classes(tmp_path):
    sample = MaskPairs(write_pair(tmp_path, halves()), CLASSES, (40, 40), False, "")[0]
    assert sample["image"].shape == (3, 40, 40)
    white = sample["image"].mean(0) > 0.5
    labelled = sample["mask"] != 255
    assert (white == (sample["mask"] == 1))[labelled].float().mean() > 0.97
    assert set(sample["mask"].unique().tolist()) == {0, 1, 255}


def test_augmentation_moves_image_and_mask_together(tmp_path):
    dataset = MaskPairs(write_pair(tmp_path, halves()), CLASSES, (48, 64), True, "")
    torch.manual_seed(0)
    samples = [dataset[0] for _ in range(12)]
    for sample in samples:
        bright = sample["image"].mean(0) > 0.4  # recolouring keeps black below 0.3 and white above 0.49
        labelled = sample["mask"] != 255
        assert (bright == (sample["mask"] == 1))[labelled].float().mean() > 0.95
    assert len({sample["mask"][-1].sum().item() for sample in samples}) > 6
    assert {sample["mask"][-1, 0].item() for sample in samples} == {0, 1}  # some are mirrored


def test_augmentation_without_size_keeps_the_size(tmp_path):
    sample = MaskPairs(write_pair(tmp_path, halves()), CLASSES, None, True, "")[0]
    assert sample["image"].shape[1:] == sample["mask"].shape == (60, 90)


def test_palette_indices_are_the_values(tmp_path):
    mask = Image.fromarray(halves(), mode="P")
    mask.putpalette([10, 20, 30, 200, 0, 0, 0, 200, 0])
    pairs = write_pair(tmp_path, halves())
    mask.save(tmp_path / "mask.png")
    assert set(MaskPairs(pairs, CLASSES, None, False, "")[0]["mask"].unique().tolist()) == {0, 1, 255}


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.full((6, 8), 3, np.uint8), r"mask\.png holds the values \[3\].*expected 3 values from 0 to 2"),
        (np.ones((6, 8, 3), np.uint8), r"has 3 channels of torch\.uint8; expected one"),
        (np.ones((6, 8), np.uint16), r"has 1 channels of torch\.uint16"),
        (np.ones((8, 6), np.uint8), r"is \(6, 8\) but its mask \(8, 6\)"),
    ],
)
def test_bad_masks_are_named_with_the_remedy(tmp_path, mask, words):
    pairs = write_pair(tmp_path, mask, image=np.zeros((6, 8, 3)))
    with pytest.raises(InputError, match=rf"{words}.*Do this\."):
        MaskPairs(pairs, CLASSES, None, False, "Do this.")[0]


def test_absent_mask_is_found_before_anything_is_read(tmp_path):
    with pytest.raises(InputError, match=r"1 images lack a mask.*none\.png\. Do this\."):
        MaskPairs([(tmp_path / "image.png", tmp_path / "none.png")], CLASSES, None, False, "Do this.")
