import pytest
from test_camvid import write_camvid
from test_coco import write_coco
from test_depth_pairs import write_folder
from test_image_folder import WNIDS, write_classes, write_image

from dds.data import CamVid, CocoDetection, DepthPairs, GivenData, ImageFolder, LabelledRetrieval, Scenes
from dds.data.naming import images_by_name, place_name, place_of
from dds.errors import InputError


def classes(root):
    write_classes(root, each=1)
    return ImageFolder(str(root), limit=1)


def boxes(root):
    return CocoDetection(str(write_coco(root)))


def depth(root):
    return DepthPairs(write_folder(root, ["b", "a"]))


def masks(root):
    return CamVid(str(write_camvid(root, images=2)))


def retrieval(root):
    names = ["one/a.jpg", "two/a.jpg", "two/b.jpg"]
    for name in names:
        write_image(root / name)
    rows = [f"{name},x,{role}" for name, role in zip(names, ("query", "query", "gallery"), strict=True)]
    (root / "labels.csv").write_text("\n".join(["file,class,role", *rows]))
    return LabelledRetrieval(str(root))


@pytest.mark.parametrize(
    ("write", "names"),
    [
        (classes, [f"{wnid}/{wnid}_0" for wnid in WNIDS]),
        (boxes, ["000000397133", "000000037777", "000000252219"]),
        (depth, ["a_rgb", "b_rgb"]),
        (masks, ["0001TP_000000", "0001TP_000001"]),
        (retrieval, ["one/a", "two/a"]),
    ],
)
def test_images_are_named_after_their_files_below_the_folder_of_all(tmp_path, write, names):
    assert write(tmp_path).image_names()[:3] == names


def test_images_without_files_and_of_one_name_are_called_by_their_place(tmp_path):
    assert Scenes(test_images=3).image_names() == ["000000", "000001", "000002"]
    assert GivenData([({"image": None}, 0)] * 2, "label").image_names() == ["000000", "000001"]
    for suffix in ("jpg", "png"):
        write_image(tmp_path / "class" / f"a.{suffix}")
    assert ImageFolder(str(tmp_path)).image_names() == ["000000", "000001"]


@pytest.mark.parametrize("name", ["12", "0000012", "a/000012", "000012a", "²00000", ""])
def test_only_a_name_of_the_very_form_stands_for_a_place(name):
    assert place_of(name) is None
    assert [place_of(place_name(place)) for place in (12, 12_345_678)] == [12, 12_345_678]


def test_images_of_a_folder_by_name(tmp_path):
    for name in ("a.b.png", "deep/er/a.JPG", ".hidden/a.png"):
        write_image(tmp_path / name)
    assert images_by_name(tmp_path, "").keys() == {"a.b", "deep/er/a"}


def test_a_folder_must_hold_images_of_different_names(tmp_path):
    with pytest.raises(InputError, match=r"there is no folder .*nothing\. Do this\."):
        images_by_name(tmp_path / "nothing", "Do this.")
    with pytest.raises(InputError, match="holds no images. Do this."):
        images_by_name(tmp_path, "Do this.")
    for suffix in ("jpg", "png"):
        write_image(tmp_path / f"a.{suffix}")
    with pytest.raises(InputError, match=r"a\.jpg and .*a\.png have one name but for the suffix. Do this."):
        images_by_name(tmp_path, "Do this.")
