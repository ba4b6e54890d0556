import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from dds.data import GivenData, GivenRetrieval
from dds.errors import InputError

IMAGES = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = [0, 1, 0, 1, 1, 1]


def batch_of(data):
    return next(iter(data.test_dataloader()))


BAD = {
    "label of sample 1 is the str 'cat'": [(IMAGES[0], 0), (IMAGES[1], "cat")],
    "more of the samples cannot share a batch: \\(0,\\) and \\(1,\\)": [
        {"image": IMAGES[number], "label": number, "more": torch.zeros(number)} for number in range(2)
    ],
    "sample 0 is a tuple": [(IMAGES[0], 0, "a.png")],
}


@pytest.mark.parametrize("words", BAD)
def test_errors_of_loading_workers_are_as_clear_as_without(words):
    said = []
    for workers in (0, 1):
        with pytest.raises(InputError, match=words) as error:
            batch_of(GivenData(DataLoader(BAD[words], batch_size=2, num_workers=workers), "label"))
        said.append(str(error.value))
    assert said[0] == said[1]


# Boxes


def boxed(*targets):
    return GivenData([(IMAGES[place], target) for place, target in enumerate(targets)], "boxes")


def test_boxes_of_torchvision_s_form_fill_as_many_places():
    one = {"boxes": [[1, 2, 3, 4]], "labels": torch.tensor([7]), "iscrowd": [1], "image_id": 3}
    two = {"boxes": torch.ones(2, 4).double(), "labels": [1, 2], "masks": torch.zeros(2, 8, 8)}
    none = {"boxes": torch.zeros(0, 4), "classes": []}
    batch = batch_of(boxed(one, two, none))
    assert batch["boxes"].shape == (3, 2, 4)
    assert batch["classes"].tolist() == [[7, -1], [1, 2], [-1, -1]]
    assert batch["crowd"].tolist() == [[True, False], [False] * 2, [False] * 2]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ({"boxes": [[1, 2, 3]], "labels": [1]}, r"\(1, 3\); expected \[n, 4\]"),
        ({"boxes": [[1, 2, 3, 4]]}, "holds image, boxes; expected"),
        ({"boxes": "none", "labels": []}, "holds image, boxes, labels; expected"),
        ({"boxes": [[1, 2, 3, 4]], "labels": []}, "1 boxes, 0 classes"),
        ([[1, 2, 3, 4]], "holds image, boxes; expected"),
    ],
)
def test_boxes_that_are_none(target, words):
    with pytest.raises(InputError, match=words):
        batch_of(boxed(target))


# Retrieval


ROWS = [torch.tensor([label == other for other in LABELS[2:]]) for label in LABELS[:2]]
SAME_RELEVANCE = {
    "grades": ([(IMAGES[n], 2 * ROWS[n].int()) for n in range(2)], list(IMAGES[2:])),
    "matches": (
        [{"image": IMAGES[n], "relevance": ROWS[n]} for n in range(2)],
        [{"image": image} for image in IMAGES[2:]],
    ),
    "labels": ([(IMAGES[n], LABELS[n]) for n in range(2)], [(IMAGES[n], LABELS[n]) for n in range(2, 6)]),
    "tensors": (
        [(IMAGES[n], torch.tensor([LABELS[n]])) for n in range(2)],
        [{"image": IMAGES[n], "identity": float(LABELS[n])} for n in range(2, 6)],
    ),
    "words": (
        DataLoader([{"image": IMAGES[n], "label": "ab"[LABELS[n]]} for n in range(2)], batch_size=2),
        DataLoader([(IMAGES[n], "ab"[LABELS[n]]) for n in range(2, 6)]),
    ),
}


@pytest.mark.parametrize("form", SAME_RELEVANCE)
def test_relevance_however_it_is_given(form):
    data = GivenRetrieval(*SAME_RELEVANCE[form])
    batch, database = batch_of(data), list(data.database_dataloader())
    assert torch.equal(batch["image"], IMAGES[:2])
    assert torch.equal(torch.cat([part["image"] for part in database]), IMAGES[2:])
    assert batch["relevance"].dtype == torch.int8
    assert batch["relevance"].tolist() == [[2, 0, 0, 0], [0, 2, 2, 2]]


def test_a_gallery_of_pictures_of_any_size():
    gallery = [Image.new("L", size, 51) for size in ((4, 3), (2, 5), (4, 3))]
    data = GivenRetrieval([(Image.new("RGB", (4, 3)), [2, 0, 3])], gallery)
    batches = list(data.database_dataloader())
    assert [(part["index"].tolist(), part["image"].shape) for part in batches] == [
        ([0, 2], (2, 3, 3, 4)),
        ([1], (1, 3, 5, 2)),
    ]
    assert torch.equal(batches[0]["image"], torch.full((2, 3, 3, 4), 0.2))


@pytest.mark.parametrize(
    ("queries", "gallery", "words"),
    [
        ([(IMAGES[0], 0)], list(IMAGES), "image 0 of the gallery holds image, and no label"),
        ([{"image": IMAGES[0]}], [(IMAGES[0], 0)], "query 0 holds image, and no label"),
        ([(IMAGES[0], [0, 1, 0])], list(IMAGES[:3]), "of 0 and 1 only, and 1 is the grade of junk"),
        ([(IMAGES[0], ["a", "b"])], list(IMAGES[:2]), "query 0 is no row of grades"),
        ([(IMAGES[0], [5, 0])], list(IMAGES[:2]), "relevance of sample 0 is .*a grade of"),
        ([(IMAGES[0], [2, 0])], iter(IMAGES), "has no length"),
    ],
)
def test_retrieval_that_cannot_be(queries, gallery, words):
    with pytest.raises(InputError, match=words):
        batch_of(GivenRetrieval(queries, gallery))
