import tracemalloc

import numpy as np
import pytest
import torch

from dds.batch import Relevance
from dds.data.relevance import Relevances


def test_rows_are_made_of_places():
    places = [{Relevance.JUNK: np.array([4]), Relevance.HARD: np.array([0, 2])}, {}]
    known = Relevances(places, 5, [{"identity": 7}, {"identity": 8}])
    junk, hard = Relevance.JUNK, Relevance.HARD
    assert known[0]["relevance"].tolist() == [hard, 0, hard, 0, junk]
    assert known[1]["relevance"].tolist() == [0] * 5
    assert known[1]["relevance"].dtype == torch.int8
    assert [row["identity"] for row in (known[0], known[1])] == [7, 8]
    assert len(known) == 2
    with pytest.raises(IndexError):
        known[2]


def test_queries_of_a_large_database_take_no_room():
    """A thousand rows of a million grades would be a gigabyte."""
    tracemalloc.start()
    known = Relevances([{Relevance.EASY: np.arange(50)}] * 1000, 10**6)
    assert known[999]["relevance"].sum() == 50 * Relevance.EASY
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()
