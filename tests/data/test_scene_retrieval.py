import pytest
import torch

from dds.batch import Relevance
from dds.data import SceneRetrieval
from dds.data.scenes.renderer import render
from dds.errors import InputError

FIRST_TEST_ARRANGEMENT = 2_000_000_000


@pytest.fixture(scope="module")
def data():
    return SceneRetrieval(size=32, views=3, test_images=60, train_images=12, val_images=6, batch_size=6)


def test_queries_and_database_are_the_views_of_the_test_arrangements(data):
    queries, database = data.load("test"), data.database()
    assert (len(queries), len(database)) == (20, 40)
    for arrangement, view in ((0, 0), (7, 0), (7, 1), (19, 2)):
        found = queries[arrangement] if view == 0 else database[2 * arrangement + view - 1]
        expected = render(
            torch.tensor([FIRST_TEST_ARRANGEMENT + arrangement]), torch.tensor([view]), (32, 32)
        )
        assert torch.equal(found["image"], expected.image[0] / 255)
        assert found["identity"] == expected.arrangement[0]


def test_relevance_is_what_the_rendering_says(data):
    numbers = torch.arange(60)
    views = render(FIRST_TEST_ARRANGEMENT + numbers // 3, numbers % 3, (32, 32))
    large_enough = 12 / 64**2 * 32**2  # pixels
    queries, seen = data.load("test"), set()
    for number in range(20):
        relevance = iter(queries[number]["relevance"].tolist())
        for place in range(60):
            if place % 3 == 0:
                continue
            pixels = views.instance[place][views.instance[place] >= 0].long().bincount()
            if place // 3 != number:
                expected = Relevance.NEGATIVE
            elif (pixels >= large_enough).sum() < 2:
                expected = Relevance.JUNK
            else:
                alike = views.label[place] == views.label[3 * number]
                expected = Relevance.EASY if alike else Relevance.HARD
            assert next(relevance) == expected
            seen.add(expected)
    assert seen == set(Relevance)


def test_limit_takes_fewer_queries_from_the_whole_database(data):
    few = SceneRetrieval(size=32, views=3, test_images=60, limit=4, batch_size=4)
    batch = next(iter(few.test_dataloader()))
    assert batch["relevance"].shape == (4, 40)
    for index, relevance in zip(batch["index"].tolist(), batch["relevance"], strict=True):
        assert torch.equal(relevance, data.load("test")[index]["relevance"])
    assert sum(len(part["image"]) for part in few.database_dataloader()) == 40


def test_training_batches_hold_whole_arrangements_in_random_order(data):
    torch.manual_seed(0)
    epochs = [[batch["identity"] for batch in data.train_dataloader()] for _ in range(4)]
    for identities in epochs:
        for identity in identities:
            assert sorted(torch.unique(identity, return_counts=True)[1].tolist()) == [3, 3]
        assert len(torch.cat(identities).unique()) == 4
    assert len({tuple(torch.cat(identities).tolist()) for identities in epochs}) > 1


def test_an_incomplete_arrangement_is_not_trained_on():
    loader = SceneRetrieval(size=16, views=3, train_images=8, batch_size=3).train_dataloader()
    assert [batch["identity"].tolist() for batch in loader] in ([[0] * 3, [1] * 3], [[1] * 3, [0] * 3])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"views": 1}, "views=1; retrieval needs at least 2"),
        ({"test_images": 3}, "test_images=3; expected at least 4"),
        ({"test_images": 0}, "test_images=0"),
        ({"size": 8}, "at least 16"),
    ],
)
def test_bad_settings(options, words):
    with pytest.raises(InputError, match=words):
        SceneRetrieval(**options)


def test_batches_that_cannot_hold_whole_arrangements():
    with pytest.raises(InputError, match="batch_size=6 cannot hold whole arrangements of 4 views"):
        SceneRetrieval(batch_size=6).train_dataloader()
