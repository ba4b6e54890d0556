"""Training images that attacks are made on: the same in every process."""

import pytest
import torch
from torch.utils.data import Dataset
from torchvision.transforms import v2

from dds.data.base import BaseDataModule
from dds.errors import InputError

VARIED = v2.Compose([v2.RandomResizedCrop(6), v2.ColorJitter(0.5)])


class Varied(Dataset):
    def __init__(self, images, augment):
        self.images, self.augment = images, augment

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = self.images[index]
        return {"image": VARIED(image) if self.augment else image}


class Data(BaseDataModule):
    def __init__(self, images=12, tested=4, same=False, **options):
        super().__init__(**options)
        generator = torch.Generator().manual_seed(0)
        self.images = torch.rand(images + tested, 3, 8, 8, generator=generator)
        self.tested = self.images if same else self.images[images:]

    def load(self, split):
        return Varied(self.images if split == "train" else self.tested, split == "train")


def read(data, images=10, batch_size=4):
    return list(data.some_training_batches(images, batch_size))


def test_images_are_read_alike_whatever_else_is_drawn():
    once = read(Data())
    torch.manual_seed(5)
    again = read(Data(batch_size=3, num_workers=2))
    assert [len(batch["image"]) for batch in once] == [4, 4, 2]
    for one, other in zip(once, again, strict=True):
        assert torch.equal(one["index"], other["index"])
        assert torch.equal(one["image"], other["image"])


def test_images_are_varied_and_each_is_there_once():
    images, index = (torch.cat([batch[key] for batch in read(Data())]) for key in ("image", "index"))
    assert images.shape == (10, 3, 6, 6)
    assert len(set(index.tolist())) == 10
    assert index.tolist() != sorted(index.tolist())
    assert len(torch.cat([batch["index"] for batch in read(Data(), images=99)])) == 16


def test_reading_them_leaves_the_random_numbers_of_others_alone():
    before = torch.random.get_rng_state()
    read(Data())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_test_images_are_no_training_images():
    with pytest.raises(InputError, match="Data has no other images than those that are tested"):
        read(Data(same=True))
