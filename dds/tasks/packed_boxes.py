"""Detections of an image as one tensor, `[100, 6]`: x1, y1, x2, y2, score (0: none), class; best first."""

import torch
from torch import Tensor
from torchvision.ops import box_iou

MOST = 100
"""Detections of an image that count, as in COCO."""

_SAME = 0.5  # IoU from which on two draws speak of the same object


def pack(found: Tensor) -> Tensor:
    """Keep the best of N detections, `[N, 6]` to `[100, 6]`."""
    best = found[found[:, 4].argsort(descending=True, stable=True)[:MOST]]
    return torch.cat([best, best.new_zeros(MOST - len(best), 6)])


def fuse(draws: Tensor) -> Tensor:
    """Fuse the detections on K noise draws, `[K, 100, 6]`, into those of one image, `[100, 6]`.

    From the best detection on, those of its class that overlap it by half are taken for the same object.
    """
    draw = torch.arange(len(draws), device=draws.device).repeat_interleave(draws.shape[1])
    found = draws.flatten(0, 1)
    order = found[:, 4].argsort(descending=True, stable=True)
    order = order[found[order, 4] > 0]
    found, draw = found[order], draw[order]
    same = (box_iou(found[:, :4], found[:, :4]) >= _SAME) & (found[:, 5, None] == found[:, 5])
    same.fill_diagonal_(True)  # boxes without area overlap nothing
    free = torch.ones(len(found), dtype=torch.bool, device=draws.device)
    fused = [draws.new_zeros(0, 6)]
    while free.any():
        like = free & same[int(free.int().argmax())]
        fused.append(_fuse_one(found[like], draw[like], len(draws)))
        free &= ~like
    return pack(torch.cat(fused))


def _fuse_one(found: Tensor, draw: Tensor, draws: int) -> Tensor:
    """Fuse detections `[N, 6]` of one object, the best of each draw, into `[1, 6]`."""
    best = torch.stack([found[draw == one][0] for one in torch.unique(draw)])
    box = best[:, :4].quantile(0.5, dim=0)
    return torch.cat([box, best[:, 4].sum()[None] / draws, best[0, 5:]])[None]
