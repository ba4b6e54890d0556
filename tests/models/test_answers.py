from collections import OrderedDict, namedtuple
from types import SimpleNamespace

import pytest
import torch

from dds.errors import InputError
from dds.models.answers import answer_of, detections_of, losses_of

ANSWER, OTHER = torch.zeros(2, 4), torch.ones(2, 3)
Pair = namedtuple("Pair", ["logits_of_main", "aux"])


@pytest.mark.parametrize(
    "output",
    [
        ANSWER,
        (ANSWER, OTHER),
        [ANSWER, None],
        Pair(ANSWER, OTHER),
        OrderedDict(out=ANSWER, aux=OTHER),
        {"aux": OTHER, "logits": ANSWER},
        {"anything": ANSWER},
        SimpleNamespace(logits=ANSWER, loss=None),
        {"loss": OTHER.sum(), "predicted_depth": ANSWER},
        SimpleNamespace(pooler_output=ANSWER, last_hidden_state=OTHER),
        {"last_hidden_state": ANSWER, "pooler_output": None},
        {"image_embeds": ANSWER, "last_hidden_state": OTHER},
    ],
    ids=lambda output: type(output).__name__,
)
def test_the_answer_is_found(output):
    assert answer_of(output) is ANSWER


@pytest.mark.parametrize(
    ("output", "named"),
    [
        ({"a": ANSWER, "b": OTHER}, "dict with a, b"),
        (None, "NoneType"),
        ("logits", "str"),
        ([], "list of nothing"),
        ({}, "dict with nothing"),
        ((None, ANSWER), "tuple of NoneType, Tensor"),
        ({"x": "y"}, "dict with x"),
        (SimpleNamespace(scores=ANSWER), "SimpleNamespace with scores"),
        ({"class_queries_logits": ANSWER, "masks_queries_logits": OTHER}, "dict with class_queries_logits, "),
        ([{"boxes": ANSWER}], "list of dict"),
    ],
    ids=str,
)
def test_anything_else_is_named(output, named):
    with pytest.raises(InputError, match=f"returns a {named}"):
        answer_of(output)


def test_classes_in_the_place_of_logits_are_refused():
    with pytest.raises(InputError, match=r"returns torch.int64 values, as after argmax"):
        answer_of({"out": ANSWER.long()})


FOUND = {"boxes": torch.zeros(2, 4), "labels": torch.ones(2), "scores": torch.ones(2)}


def test_detections_are_those_of_torchvision():
    assert detections_of([FOUND, FOUND], 2) == [FOUND, FOUND]
    assert detections_of((FOUND,), 1) == (FOUND,)


@pytest.mark.parametrize(
    ("output", "named"),
    [
        (ANSWER, "a Tensor for 2 images"),
        ([FOUND], "a list of dict, its first a dict with boxes, labels, scores for 2 images"),
        ([FOUND, {"boxes": torch.zeros(0, 4)}], "a list of dict, dict"),
        ([FOUND, {**FOUND, "scores": torch.ones(2, 3)}], "a list of dict, dict"),
        ({"logits": ANSWER, "pred_boxes": OTHER}, "a dict with logits, pred_boxes"),
        (None, "a NoneType"),
    ],
    ids=str,
)
def test_other_detections_are_named(output, named):
    with pytest.raises(InputError, match=f"returns {named}"):
        detections_of(output, 2)


def test_losses_are_tensors_by_name():
    assert losses_of({"loss_ce": ANSWER}) == {"loss_ce": ANSWER}
    for output, named in (([FOUND], "list of dict"), ({}, "dict with nothing"), (ANSWER, "Tensor")):
        with pytest.raises(InputError, match=f"with targets, the network returns a {named}"):
            losses_of(output)
