"""The revisited protocol of image retrieval (Radenovic et al., CVPR 2018, section 3.2)."""

import torch
from torch import Tensor

from dds.batch import Relevance

SETUPS = {
    "easy": ({Relevance.EASY}, {Relevance.JUNK, Relevance.HARD}),
    "medium": ({Relevance.EASY, Relevance.HARD}, {Relevance.JUNK}),
    "hard": ({Relevance.HARD}, {Relevance.JUNK, Relevance.EASY}),
}
"""For each setup what counts as a positive and what is taken out of the ranking."""

CUTS = (1, 5, 10)


def evaluate_ranking(ranked: Tensor, setup: str) -> dict[str, float]:
    """Score one query's ranking.

    Args:
        ranked: `[D]` the `Relevance` of each image of the database, best match first.
        setup: `easy`, `medium` or `hard`.

    Returns:
        `ap`, `p@1`, `p@5`, `p@10`, and `counts`: 0 where the query has no positive and is skipped, else 1.
    """
    positives, removed = SETUPS[setup]
    kept = ranked[~_among(ranked, removed)]
    places = _among(kept, positives).nonzero().flatten().double()  # (P,) from 0 on
    if not len(places):
        return {"ap": 0.0, **{f"p@{cut}": 0.0 for cut in CUTS}, "counts": 0.0}
    return {"ap": _trapezoids(places), **{f"p@{cut}": _precision(places, cut) for cut in CUTS}, "counts": 1.0}


def _among(ranked: Tensor, values: set[Relevance]) -> Tensor:
    return torch.isin(ranked, torch.tensor(sorted(values), device=ranked.device))


def _trapezoids(places: Tensor) -> float:
    """Return the area under precision over recall, each step a trapezoid."""
    found = torch.arange(len(places), dtype=places.dtype, device=places.device)
    before = torch.where(places > 0, found / places.clamp(min=1), 1.0)
    after = (found + 1) / (places + 1)
    return ((before + after) / 2).mean().item()


def _precision(places: Tensor, cut: int) -> float:
    """Return the precision among the first, no further down than the last positive."""
    cut = min(int(places[-1]) + 1, cut)
    return (places < cut).double().sum().item() / cut
