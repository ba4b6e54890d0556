import pytest

from dds.data.voc_layout import CLASSES, find_release, read_image_set
from dds.errors import InputError


def write_release(folder, listed, there):
    (folder / "JPEGImages").mkdir(parents=True)
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    (folder / "ImageSets" / "Main" / "val.txt").write_text(listed)
    for name in there:
        (folder / "JPEGImages" / f"{name}.jpg").touch()
    return folder


def test_classes_are_in_alphabetical_order():
    assert len(CLASSES) == 20
    assert list(CLASSES) == sorted(CLASSES)


def test_names_keep_the_order_of_the_set_whatever_its_line_ends(tmp_path):
    write_release(tmp_path, "2008_000003\r\n2008_000002\r\n\r\n", ["2008_000002", "2008_000003"])
    assert read_image_set(tmp_path, "Main", "val") == ["2008_000003", "2008_000002"]


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        ("a\nb\nc\n", r"1 of 3 files do not exist, e\.g\. .*c\.jpg\. Download VOCtrainval"),
        ("a\nb\na\n", r"val\.txt names 1 images more than once, e\.g\. a"),
    ],
)
def test_bad_sets_of_images(tmp_path, listed, words):
    write_release(tmp_path, listed, ["a", "b"])
    with pytest.raises(InputError, match=words):
        read_image_set(tmp_path, "Main", "val")


def test_several_releases_must_be_chosen_from(tmp_path):
    for year in (2007, 2012):
        write_release(tmp_path / f"VOC{year}", "", [])
    with pytest.raises(InputError, match=r"several releases.*VOC2007, .*VOC2012\. Set data\.root to one"):
        find_release(tmp_path)
    assert find_release(tmp_path / "VOC2007") == tmp_path / "VOC2007"


@pytest.mark.parametrize("root", ["", "none"])
def test_no_release(tmp_path, root):
    with pytest.raises(InputError, match="no release of Pascal VOC.*Download VOCtrainval"):
        find_release(tmp_path / root)
