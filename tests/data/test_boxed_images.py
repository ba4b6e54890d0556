from dataclasses import replace

import pytest
import torch
from PIL import Image, ImageDraw

from dds.data.boxed_images import BoxedImage, BoxedImages
from dds.errors import InputError

WHITE_BOX = [30.0, 10.0, 60.0, 40.0]


def boxed(folder, boxes=(WHITE_BOX,), name="a.png", size=(60, 80)):
    """Write a black image with a white rectangle, and say where objects are."""
    image = Image.new("RGB", size[::-1])
    ImageDraw.Draw(image).rectangle([30, 10, 59, 39], fill="white")  # Pillow counts both ends
    image.save(folder / name)
    return BoxedImage(
        folder / name,
        size,
        torch.tensor(boxes).reshape(-1, 4),
        torch.arange(1, len(boxes) + 1),
        torch.zeros(len(boxes), dtype=torch.bool),
    )


def white_extent(image):
    """Return x1, y1, x2, y2 of what is brighter than the grey of the frame."""
    rows, columns = torch.nonzero(image[0] > 0.6, as_tuple=True)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize("size", [None, (60, 80), (30, 200), (120, 130), (17, 23)])
def test_boxes_follow_their_objects_into_the_letterbox(tmp_path, size):
    sample = BoxedImages([boxed(tmp_path)], size, augment=False)[0]
    assert sample["image"].shape == (3, *(size or (60, 80)))
    assert torch.allclose(sample["boxes"][0], torch.tensor(white_extent(sample["image"])).float(), atol=0.6)


def test_boxes_follow_their_objects_when_mirrored(tmp_path):
    dataset = BoxedImages([boxed(tmp_path)], (60, 100), augment=True)
    torch.manual_seed(0)
    places = set()
    for sample in (dataset[0] for _ in range(12)):
        assert sample["boxes"][0].tolist() == white_extent(sample["image"])
        places.add(sample["boxes"][0, 0].item())
    assert places == {30, 20}


def test_every_sample_has_as_many_places(tmp_path):
    one, none = boxed(tmp_path), boxed(tmp_path, boxes=(), name="b.png")
    three = boxed(tmp_path, boxes=(WHITE_BOX,) * 3, name="c.png")
    three = replace(three, crowd=torch.tensor([False, True, False]))
    dataset = BoxedImages([one, none, three], None, augment=False)
    assert [len(dataset[index]["boxes"]) for index in range(3)] == [3, 3, 3]
    assert dataset[0]["classes"].tolist() == [1, -1, -1]
    assert dataset[0]["boxes"][1:].eq(0).all()
    assert dataset[1]["classes"].tolist() == [-1, -1, -1]
    assert dataset[2]["crowd"].tolist() == [False, True, False]


def test_a_set_without_any_object_has_one_place(tmp_path):
    sample = BoxedImages([boxed(tmp_path, boxes=())], None, augment=False)[0]
    assert sample["boxes"].shape == (1, 4)
    assert sample["classes"].tolist() == [-1]


def test_boxes_without_area_are_no_training_data(tmp_path):
    image = boxed(tmp_path, boxes=([5.0, 5.0, 9.0, 5.0], WHITE_BOX))
    assert BoxedImages([image], None, augment=False)[0]["classes"].tolist() == [1, 2]
    assert BoxedImages([image], None, augment=True)[0]["classes"].tolist() == [2]


@pytest.mark.parametrize(
    "box",
    [
        [40.0, 10.0, 30.0, 20.0],
        [-3.0, 0.0, 5.0, 5.0],
        [70.0, 0.0, 90.0, 5.0],
        [0.0, 50.0, 5.0, 75.0],
        [float("nan"), 0.0, 5.0, 5.0],
    ],
)
def test_impossible_boxes_are_refused_before_any_work(tmp_path, box):
    with pytest.raises(InputError, match=r"a\.png has the box .* measures 80 x 60"):
        BoxedImages([boxed(tmp_path, boxes=(WHITE_BOX, box))], None, augment=False)


def test_boxes_may_touch_the_edge_up_to_rounding(tmp_path):
    BoxedImages([boxed(tmp_path, boxes=([0.0, -0.4, 80.3, 60.0],))], None, augment=False)


def test_an_image_of_another_size(tmp_path):
    image = replace(boxed(tmp_path), size=(80, 120))
    with pytest.raises(InputError, match=r"is \(60, 80\) but its annotation speaks of \(80, 120\)"):
        BoxedImages([image], None, augment=False)[0]


def test_a_truncated_image_is_named(tmp_path):
    image = boxed(tmp_path)
    image.path.write_bytes(image.path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"a\.png"):
        BoxedImages([image], None, augment=False)[0]
