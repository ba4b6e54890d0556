import numpy as np
import pytest
import torch

from dds.batch import Relevance
from dds.metrics.revisited import SETUPS, evaluate_ranking

CUTS = (1, 5, 10)
PROTOCOL = {  # what the benchmark's evaluation script calls "ok" and "junk" in each setup
    "easy": (["EASY"], ["JUNK", "HARD"]),
    "medium": (["EASY", "HARD"], ["JUNK"]),
    "hard": (["HARD"], ["JUNK", "EASY"]),
}


def by_the_protocol(ranked, setup):
    """Score a ranking by the published rules, without the package: no image of junk takes up a rank."""
    wanted, junk = ([Relevance[name] for name in names] for names in PROTOCOL[setup])
    ranks = [p - np.isin(ranked[:p], junk).sum() for p, value in enumerate(ranked) if value in wanted]
    if not ranks:
        return None
    area, recall_step = 0.0, 1 / len(ranks)
    for found, rank in enumerate(ranks):
        left = 1.0 if rank == 0 else found / rank
        area += recall_step * (left + (found + 1) / (rank + 1)) / 2
    depths = [min(max(ranks) + 1, cut) for cut in CUTS]
    return [area, *(np.mean([r < depth for r in ranks]) * len(ranks) / depth for depth in depths)]


@pytest.mark.parametrize("setup", SETUPS)
def test_scores_are_those_of_the_published_protocol(setup):
    random = np.random.default_rng(0)
    skipped = 0
    for _ in range(300):
        shares = random.dirichlet([3, 1, 0.5, 0.5])
        ranked = random.choice(4, size=random.integers(1, 60), p=shares)
        got = evaluate_ranking(torch.tensor(ranked, dtype=torch.int8), setup)
        expected = by_the_protocol(ranked, setup)
        if expected is None:
            skipped += 1
            assert set(got.values()) == {0.0}
        else:
            assert list(got.values()) == pytest.approx([*expected, 1.0], abs=1e-12)
    assert 10 < skipped < 150


def test_names():
    names = ["ap", "p@1", "p@5", "p@10", "counts"]
    for ranked in ([0, 2], [0, 0]):
        assert list(evaluate_ranking(torch.tensor(ranked), "easy")) == names


def test_by_hand():
    ranked = torch.tensor([Relevance.JUNK, Relevance.NEGATIVE, Relevance.EASY, Relevance.HARD])
    medium, easy, hard = (evaluate_ranking(ranked, setup) for setup in ("medium", "easy", "hard"))
    assert medium["ap"] == pytest.approx(((0 + 1 / 2) / 2 + (1 / 2 + 2 / 3) / 2) / 2)
    assert easy["ap"] == hard["ap"] == pytest.approx((0 + 1 / 2) / 2)
    assert [medium[f"p@{cut}"] for cut in CUTS] == pytest.approx([0, 2 / 3, 2 / 3])
    assert [hard[f"p@{cut}"] for cut in CUTS] == pytest.approx([0, 1 / 2, 1 / 2])
