import numpy as np
import pytest
import torch
from PIL import Image

from dds.data.voc_segmentation import VocSegmentation
from dds.errors import InputError


def official_palette():
    """The devkit's colours (VOClabelcolormap): bit j of a class goes to bit 7 - j // 3 of channel j % 3."""
    palette = np.zeros((256, 3), np.uint8)
    for index in range(256):
        for bit in range(8):
            palette[index, bit % 3] |= (index >> bit & 1) << 7 - bit // 3
    return palette


def write_voc(release, names=("2007_000033", "2011_003276"), sets=("train", "val"), value=255):
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (release / folder).mkdir(parents=True)
    random = np.random.default_rng(0)
    for i, name in enumerate(names):
        Image.fromarray(random.integers(0, 256, (36, 48, 3), dtype=np.uint8)).save(
            release / "JPEGImages" / f"{name}.jpg"
        )
        mask = np.zeros((36, 48), np.uint8)
        mask[6:30, 6:30] = 20 - i
        mask[6, 6:30] = value
        file = Image.fromarray(mask, mode="P")
        file.putpalette(official_palette().flatten().tolist())
        file.save(release / "SegmentationClass" / f"{name}.png")
    for name in sets:
        (release / "ImageSets" / "Segmentation" / f"{name}.txt").write_text("\n".join(names) + "\n")
    return release


@pytest.mark.parametrize("given", ["VOCdevkit/VOC2012", "VOCdevkit", "."])
def test_masks_are_the_indices_of_the_palette(tmp_path, given):
    release = write_voc(tmp_path / "VOCdevkit" / "VOC2012")
    batch = next(iter(VocSegmentation(str(tmp_path / given)).test_dataloader()))
    assert batch["image"].shape == (2, 3, 36, 48)
    expected = [np.array(Image.open(path)) for path in sorted((release / "SegmentationClass").iterdir())]
    assert torch.equal(batch["mask"], torch.from_numpy(np.stack(expected)).long())
    assert batch["mask"].unique().tolist() == [0, 19, 20, 255]


def test_real_masks_match_their_colours(shared_data):
    """The classes that we read have the colours that other programs show."""
    root = shared_data / "segmentation_samples" / "voc_layout"
    dataset = VocSegmentation(str(root)).load("val")
    assert len(dataset) == 3
    for sample, path in zip(dataset, sorted((root / "SegmentationClass").iterdir()), strict=True):
        shown = np.array(Image.open(path).convert("RGB"))
        assert np.array_equal(official_palette()[sample["mask"].numpy()], shown)


def test_size_and_training(tmp_path):
    write_voc(tmp_path)
    dataset = VocSegmentation(str(tmp_path), size=(28, 28)).load("train")
    assert dataset[0]["image"].shape == (3, 28, 28)
    assert not torch.equal(dataset[0]["image"], dataset[0]["image"])


def test_missing_set_of_images(tmp_path):
    write_voc(tmp_path)
    with pytest.raises(InputError, match=r"no set of images .*Segmentation/test\.txt"):
        VocSegmentation(str(tmp_path), test_split="test").test_dataset()


def test_missing_mask(tmp_path):
    write_voc(tmp_path)
    (tmp_path / "SegmentationClass" / "2007_000033.png").unlink()
    with pytest.raises(InputError, match=r"1 images lack a mask.*2007_000033\.png.*Download VOCtrainval"):
        VocSegmentation(str(tmp_path)).test_dataset()


def test_class_outside_the_table(tmp_path):
    write_voc(tmp_path, value=21)
    with pytest.raises(InputError, match=r"holds the values \[21\].*expected 22 values"):
        VocSegmentation(str(tmp_path)).test_dataset()[0]
