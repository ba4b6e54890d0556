import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from dds.data.cityscapes import Cityscapes
from dds.errors import InputError

SCENES = ("aachen/aachen_000000_000019", "zurich/zurich_000001_000019")


def write_cityscapes(root, value=33):
    """Masks have 34 columns, one for each label id."""
    for split in ("train", "val"):
        for scene in SCENES:
            image = root / "leftImg8bit" / split / f"{scene}_leftImg8bit.png"
            mask = root / "gtFine" / split / f"{scene}_gtFine_labelIds.png"
            for path in (image, mask):
                path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((8, 34, 3), len(scene), np.uint8)).save(image)
            ids = np.tile(np.arange(34, dtype=np.uint8), (8, 1))
            ids[:, 33] = value
            Image.fromarray(ids).save(mask)
    return str(root)


def test_label_ids_become_train_ids(tmp_path):
    batch = next(iter(Cityscapes(write_cityscapes(tmp_path)).test_dataloader()))
    assert batch["mask"].shape == (2, 8, 34)
    evaluated = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    row = batch["mask"][0, 0].tolist()
    assert [row[label] for label in evaluated] == list(range(19))
    assert {row[label] for label in range(34) if label not in evaluated} == {255}


def test_real_pair(shared_data, tmp_path):
    """Label ids made from the official colours become the train ids that were published beside them."""
    source = shared_data / "segmentation_samples" / "cityscapes"
    (tmp_path / "leftImg8bit").symlink_to(source / "leftImg8bit")
    scene = "gtFine/val/frankfurt/frankfurt_000001_058914_gtFine_"
    colours = np.array(Image.open(source / f"{scene}color.png").convert("RGB"))
    ids = np.zeros(colours.shape[:2], np.uint8)
    named = datasets.Cityscapes.classes[:-1]  # the last, licence plates, have no id
    for label in reversed(named):  # the first of a colour counts
        ids[(colours == label.color).all(2)] = label.id
    (tmp_path / scene).parent.mkdir(parents=True)
    Image.fromarray(ids).save(tmp_path / f"{scene}labelIds.png")
    sample = Cityscapes(str(tmp_path)).load("val")[0]
    published = np.array(Image.open(source / f"{scene}labelTrainIds.png"))
    assert sample["image"].shape == (3, 1024, 2048)
    assert np.array_equal(sample["mask"].numpy(), published)


def test_missing_mask_names_what_to_download(tmp_path):
    data = Cityscapes(write_cityscapes(tmp_path))
    (tmp_path / "gtFine" / "val" / f"{SCENES[1]}_gtFine_labelIds.png").unlink()
    with pytest.raises(InputError, match=r"zurich_000001_000019_gtFine_labelIds\.png.*gtFine_trainvaltest"):
        data.test_dataset()


def test_nothing_at_root(tmp_path):
    with pytest.raises(InputError, match=r"no \*/\*_leftImg8bit\.png in .*Download leftImg8bit_trainvaltest"):
        Cityscapes(str(tmp_path)).test_dataset()


def test_class_outside_the_table(tmp_path):
    with pytest.raises(InputError, match=r"holds the values \[34\]"):
        Cityscapes(write_cityscapes(tmp_path, value=34)).load("train")[0]
