import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import one_hot

from dds.data.base import Indexed
from dds.data.targets import documented
from dds.errors import InputError

IMAGE = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0))
MASK = torch.randint(0, 7, (4, 5), generator=torch.Generator().manual_seed(1))
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.int64, torch.float16)


def read(**targets):
    sample = documented({"image": IMAGE, **targets}, 7)
    assert sample.pop("image") is IMAGE
    return sample


def test_pictures_of_pillow_are_images_and_values():
    classes = Image.fromarray(MASK.byte().numpy())
    paletted = classes.copy()
    paletted.putpalette(range(21))
    depth = np.linspace(0, 9, 20, dtype=np.float32).reshape(4, 5)
    for mask in (classes, paletted):
        found = documented({"image": classes, "mask": mask, "depth": Image.fromarray(depth)}, 7)
        assert torch.equal(found["mask"], MASK)
        assert found["depth"].tolist() == depth.tolist()
        assert torch.equal(found["image"], (MASK / 255).expand(3, 4, 5))
    with pytest.raises(InputError, match=r"mask of sample 7 is torch.uint8 of shape \(3, 4, 5\)"):
        documented({"image": classes, "mask": Image.new("RGB", (5, 4), (1, 2, 3))}, 7)


@pytest.mark.parametrize(
    "label",
    [
        2,
        2.0,
        np.int64(2),
        np.uint8(2),
        np.array([2]),
        torch.tensor([[2]]),
        [2],
        one_hot(torch.tensor(2), 4),
        one_hot(torch.tensor(2), 4).bool(),
        np.eye(4)[2],
        *(torch.tensor(2, dtype=dtype) for dtype in INTEGERS),
    ],
)
def test_whatever_means_a_class_is_one(label):
    found = read(label=label)["label"]
    assert (found.dtype, found.shape, found.item()) == (torch.int64, (), 2)


@pytest.mark.parametrize("label", [True, torch.tensor(True), np.bool_(True), torch.tensor([0.0, 1.0])])
def test_two_classes(label):
    assert read(label=label)["label"].item() == 1


@pytest.mark.parametrize(
    "mask",
    [
        *(MASK.to(dtype) for dtype in INTEGERS),
        MASK[None],
        MASK[..., None].numpy(),
        one_hot(MASK, 7).permute(2, 0, 1),
        one_hot(MASK, 9).permute(2, 0, 1).float(),
        MASK.tolist(),
    ],
)
def test_whatever_means_a_mask_is_one(mask):
    found = read(mask=mask)["mask"]
    assert found.dtype == torch.int64
    assert torch.equal(found, MASK)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.float64, torch.float16])
def test_several_labels(dtype):
    found = read(labels=torch.tensor([1, 0, -1], dtype=dtype))["labels"]
    assert (found.dtype, found.tolist()) == (torch.float32, [1, 0, -1])
    assert read(labels=[True, False])["labels"].tolist() == [1, 0]


def test_the_others():
    depth = np.arange(20.0).reshape(1, 4, 5)
    assert torch.equal(read(depth=depth)["depth"], torch.arange(20.0).reshape(4, 5))
    boxes = read(boxes=[[0, 1, 2, 3]], classes=np.array([4], np.int32), crowd=[1])
    assert [boxes[key].dtype for key in boxes] == [torch.float32, torch.int64, torch.bool]
    assert read(relevance=[True, False])["relevance"].tolist() == [2, 0]
    assert read(relevance=torch.tensor([3, 1]))["relevance"].dtype == torch.int8
    assert read(identity=5)["identity"].item() == 5


def test_other_keys_stay_as_they_are():
    assert read(path="a.jpg", keypoints=[1])["path"] == "a.jpg"


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        ({"label": "cat"}, r"label of sample 7 is the str 'cat'; expected the number of a class"),
        ({"label": 1.5}, "the float '1.5'"),
        ({"label": float("nan")}, "'nan'"),
        ({"label": None}, "NoneType"),
        ({"label": torch.tensor([0.1, 0.9])}, r"torch\.float32 of shape \(2,\)"),
        ({"label": torch.tensor([1, 1, 0])}, r"of shape \(3,\) \(1, 1, 0, …\)"),
        ({"label": {"a": 1}}, "the dict"),
        ({"mask": MASK / 255}, "float32 of shape"),
        ({"mask": torch.rand(3, 4, 5)}, r"\(3, 4, 5\)"),
        ({"mask": np.array([["a"]])}, "of shape"),
        ({"labels": [0.5, 1]}, "1 or 0 for each class"),
        ({"labels": [3, 7]}, "1 or 0 for each class"),
        ({"depth": MASK * 1j}, "complex"),
        ({"crowd": [2]}, "crowd of sample 7"),
        ({"relevance": [4]}, "grade"),
    ],
)
def test_what_cannot_be_meant_is_named(targets, words):
    with pytest.raises(InputError, match=words):
        read(**targets)


@pytest.mark.parametrize("sample", [{"pixels": IMAGE, "label": 1}, {"image": None}, {"image": "a.jpg"}])
def test_a_sample_without_image(sample):
    with pytest.raises(InputError, match="image of sample 0 is .*expected a float tensor"):
        Indexed([sample])[0]
