from collections import OrderedDict, namedtuple
from types import SimpleNamespace

import pytest
import torch

from dds.errors import InputError
from dds.models.answers import answer_of

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
        (SimpleNamespace(scores=ANSWER), "SimpleNamespace"),
    ],
    ids=str,
)
def test_anything_else_is_named(output, named):
    with pytest.raises(InputError, match=f"returns a {named}"):
        answer_of(output)
