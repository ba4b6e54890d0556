import pytest
import torch

from dds.batch import check_images
from dds.data import Scenes
from dds.data.scenes import scenes
from dds.data.scenes.renderer import SEMANTIC, SOLIDS
from dds.errors import InputError


def first_batch(loader):
    return next(iter(loader))


def test_every_target_is_in_the_batch():
    batch = first_batch(Scenes(batch_size=4, test_images=6).test_dataloader())
    check_images(batch["image"])
    assert batch["image"].shape == (4, 3, 64, 64)
    assert batch["mask"].dtype == torch.int64
    assert batch["mask"].max() < len(SEMANTIC)
    assert batch["label"].max() < len(SOLIDS)
    assert batch["depth"].shape == (4, 64, 64)
    assert batch["boxes"].shape == (4, 5, 4)
    assert batch["classes"].shape == (4, 5)
    assert batch["index"].tolist() == [0, 1, 2, 3]


def test_splits_share_no_image():
    scenes = Scenes(batch_size=8, train_images=8, val_images=8, test_images=8)
    loaders = (scenes.train_dataloader(), scenes.val_dataloader(), scenes.test_dataloader())
    batches = [first_batch(loader) for loader in loaders]
    identities = torch.cat([batch["identity"] for batch in batches])
    assert len(identities.unique()) == 24
    images = torch.cat([batch["image"] for batch in batches]).flatten(1)
    assert torch.cdist(images, images).fill_diagonal_(1).min() > 0


def test_limit_takes_a_fixed_random_subset():
    def images(seed):
        return {
            b["index"][0].item(): b["image"]
            for b in Scenes(batch_size=1, limit=5, subset_seed=seed).test_dataloader()
        }

    assert images(0).keys() == images(0).keys() != images(1).keys()
    full = Scenes(batch_size=1).load("test")
    for index, image in images(0).items():
        assert torch.equal(full[index]["image"], image[0])


def test_views_show_the_same_arrangement():
    batch = first_batch(Scenes(views=2, batch_size=4).test_dataloader())
    assert batch["identity"].diff().tolist() == [0, 1, 0]
    assert not torch.equal(batch["image"][0], batch["image"][1])


def test_size_is_a_setting():
    assert first_batch(Scenes(size=32, batch_size=2, limit=2).test_dataloader())["mask"].shape == (2, 32, 32)


@pytest.mark.parametrize(
    "options",
    [{"limit": 0}, {"batch_size": 0}, {"num_workers": -1}, {"size": 4}, {"views": 0}, {"test_images": 0}],
)
def test_bad_settings(options):
    with pytest.raises(InputError, match=r"expected (a whole number of )?at least|found no test images"):
        Scenes(**options).test_dataset()


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_split_without_images_is_refused(split):
    with pytest.raises(InputError, match=f"{split}_images=0"):
        Scenes(**{f"{split}_images": 0}).load(split)


def test_a_training_renders_each_image_once_and_only_when_it_is_asked_for(monkeypatch):
    rendered, render = [], scenes.render
    monkeypatch.setattr(scenes, "render", lambda a, v, s: rendered.extend(a.tolist()) or render(a, v, s))
    first_batch(Scenes(size=16, batch_size=4, train_images=12_000).train_dataloader())
    assert len(rendered) <= 5  # with the first, by which room is made
    rendered.clear()
    loader = Scenes(size=16, batch_size=4, train_images=8).train_dataloader()
    epochs = [
        [one for batch in loader for one in zip(batch["index"], batch["image"], strict=True)] for _ in "123"
    ]
    assert len(rendered) <= 9
    for epoch in epochs:
        assert sorted(index.item() for index, _ in epoch) == list(range(8))
        for index, image in epoch:
            expected = render(index[None], torch.zeros(1, dtype=torch.long), (16, 16)).image[0] / 255
            assert torch.equal(image, expected)


def test_processes_that_read_images_share_what_is_rendered():
    loader = Scenes(size=16, batch_size=2, train_images=8, num_workers=2).train_dataloader()
    assert sum(len(batch["image"]) for batch in loader) == 8
    assert loader.dataset.dataset._there.all()
