import numpy as np
import pytest
import torch
from data.test_boxed_images import boxed as boxed_image
from PIL import Image
from torch.utils.data import DataLoader

from dds.data import BaseDataModule, GivenData, SegmentationPairs
from dds.data.boxed_images import BoxedImages
from dds.data.depth_files import DepthFiles
from dds.data.image_list import ImageList
from dds.data.labelled_images import LabelledImages
from dds.data.mask_pairs import MaskPairs
from dds.data.resizing import GREY
from dds.data.sizes import SizedBatches
from dds.data.transforms import resize_and_crop, resize_to
from dds.errors import InputError

SIDES = [(8, 6), (4, 6), (8, 6), (8, 6), (4, 6), (2, 2)]
"""Height and width of each image."""


def sample(index):
    image, mask = torch.full((3, *SIDES[index]), index / 10), torch.zeros(SIDES[index], dtype=torch.int64)
    return {"image": image, "mask": mask, "depth": torch.ones(SIDES[index])}


SAMPLES = [sample(index) for index in range(len(SIDES))]


def batches_of(data):
    return [(batch["index"].tolist(), batch["real"]) for batch in data.test_dataloader()]


def test_one_size_after_another_and_each_as_full_as_its_images_allow():
    data = GivenData(SAMPLES, "mask", batch_size=2)
    assert batches_of(data) == [([0, 2], 2), ([3, 3], 1), ([1, 4], 2), ([5], 1)]
    assert len(data.test_dataloader()) == 4
    for batch in data.test_dataloader():
        assert [tuple(image.shape[1:]) for image in batch["image"]] == [SIDES[i] for i in batch["index"]]


def test_what_is_left_comes_in_batches_as_full_as_all():
    data = GivenData(SAMPLES, "mask", batch_size=2)
    data.finished = {0, 4}
    assert batches_of(data) == [([1, 1], 1), ([2, 3], 2), ([5], 1)]
    assert batches_of(data.at_most(6)) == batches_of(data)


def test_processes_share_the_images_of_each_size_out(monkeypatch):
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    shares = []
    for rank in range(2):
        monkeypatch.setattr("torch.distributed.get_rank", lambda rank=rank: rank)
        shares.append(list(SizedBatches(SIDES, 2)))
    assert shares == [[[0, 3], [4]], [[2], [1], [5]]]


def test_batches_of_what_is_taken_and_how_many_there_will_be():
    """Of what other jobs take, a batch is made neither wholly nor in part."""
    asked = []
    batches = SizedBatches(SIDES, 2, lambda place: asked.append(place) or place not in (2, 5))
    assert [len(batches), batches.expected] == [4, 4]
    told = [(batch, batches.expected, asked.copy()) for batch in batches]
    assert told == [([0, 3], 2.0, [0, 2, 3]), ([1, 4], 2.4, [0, 2, 3, 1, 4])]
    assert batches.expected == 2


def test_images_are_looked_at_once_and_not_at_all_where_it_does_not_matter():
    class Counted(list):
        def __getitem__(self, index):
            seen.append(index)
            return super().__getitem__(index)

    class Sized(Counted):
        def size_of(self, index):
            return SIDES[index]

    for made, batch_size, looked in ((Counted, 2, 2), (Sized, 2, 1), (Counted, 1, 1)):
        seen = []
        list(GivenData(DataLoader(made(SAMPLES)), "mask", batch_size).test_dataloader())
        assert len(seen) == looked * len(SIDES)


class Given(BaseDataModule):
    def load(self, split):
        return SAMPLES


def test_borders_count_nothing():
    data = Given(batch_size=4, sizes="pad")
    data.ignored = 7
    first, last = data.test_dataloader()
    assert (first["index"].tolist(), last["index"].tolist()) == ([0, 1, 2, 3], [4, 5, 5, 5])
    assert first["image"].shape == (4, 3, 8, 6)
    assert torch.equal(first["image"][0], SAMPLES[0]["image"])
    padded = {key: last[key][1] for key in ("image", "mask", "depth")}
    for key, border in (("image", GREY / 255), ("mask", 7), ("depth", 0)):
        inside = torch.zeros(8, 6, dtype=torch.bool)
        inside[:2, :2] = True
        assert torch.equal(padded[key][..., :2, :2], SAMPLES[5][key])
        assert (padded[key][..., ~inside] == border).all()


def test_borders_do_not_hang_on_the_part_that_is_measured():
    data = Given(sizes="pad")
    data.finished = {0, 1, 2, 3, 4}
    (batch,) = data.test_dataloader()
    assert batch["image"].shape == (6, 3, 8, 6)


def test_borders_that_would_count_are_refused():
    data = GivenData([(one["image"], 0) for one in SAMPLES], "label")
    data.sizes = "pad"
    with pytest.raises(InputError, match=r"border around samples of image, label.*Set data\.sizes=group"):
        next(iter(data.test_dataloader()))
    with pytest.raises(InputError, match=r"data\.sizes=fill; expected group or pad"):
        Given(sizes="fill")


def write(folder):
    """An image of 4 x 6 as shown, stored on its side, and a mask of its size."""
    turned, mask = folder / "image.png", folder / "mask.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((6, 4, 3), np.uint8)).save(turned, exif=exif)
    Image.fromarray(np.ones((4, 6), np.uint8)).save(mask)
    return turned, mask


KINDS = {
    "labels": lambda image, mask: LabelledImages([image], "label", torch.zeros(1), resize_to(None, False)),
    "cropped": lambda image, mask: LabelledImages(
        [image], "label", torch.zeros(1), resize_and_crop(3, 2, False)
    ),
    "shorter": lambda image, mask: LabelledImages(
        [image], "label", torch.zeros(1), resize_and_crop(3, None, False)
    ),
    "masks": lambda image, mask: MaskPairs([(image, mask)], {1: 1}, None, False, ""),
    "sized": lambda image, mask: MaskPairs([(image, mask)], {1: 1}, (5, 7), False, ""),
    "depth": lambda image, mask: DepthFiles([(image, mask)], 1.0),
    "longer": lambda image, mask: ImageList([image], 3),
    "parts": lambda image, mask: ImageList([image], 3, crops=[(0.6, 1, 4.2, 3)]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_size_that_a_data_set_says_is_that_of_its_image(tmp_path, kind):
    dataset = KINDS[kind](*write(tmp_path))
    assert dataset.size_of(0) == tuple(dataset[0]["image"].shape[1:])


def test_boxed_images_know_their_size(tmp_path):
    for size in (None, (20, 24)):
        dataset = BoxedImages([boxed_image(tmp_path)], size, augment=False)
        assert dataset.size_of(0) == tuple(dataset[0]["image"].shape[1:])


def test_headers_are_enough(tmp_path, monkeypatch):
    """Pictures of two shapes and their masks share a run, and none is decoded to find that out."""
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for name, sides in zip("abc", SIDES, strict=False):
        Image.fromarray(np.zeros((*sides, 3), np.uint8)).save(tmp_path / "images" / f"{name}.png")
        Image.fromarray(np.zeros(sides, np.uint8)).save(tmp_path / "masks" / f"{name}.png")
    data = SegmentationPairs(str(tmp_path), images="images/*.png")
    with monkeypatch.context() as undecoded:
        undecoded.setattr("dds.data.mask_pairs.read_image", lambda path: pytest.fail("decoded"))
        loader = data.test_dataloader()
    assert [tuple(batch["mask"].shape) for batch in loader] == [(2, 8, 6), (1, 4, 6)]
