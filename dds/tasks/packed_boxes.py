"""Detections of an image as one tensor, `[100, 6]`: x1, y1, x2, y2, score (0: none), class; best first."""

import numpy as np
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
    if not len(found):
        return pack(found)
    same = (box_iou(found[:, :4], found[:, :4]) >= _SAME) & (found[:, 5, None] == found[:, 5])
    same.fill_diagonal_(True)  # boxes without area overlap nothing
    return pack(_fuse_each(found, draw, _objects(same), len(draws)))


def _objects(same: Tensor) -> Tensor:
    """Number the object of each detection, `[N]`, of `[N, N]` which speak of the same one, best first."""
    alike = same.cpu().numpy()
    objects, free = np.full(len(alike), -1), np.ones(len(alike), dtype=bool)
    for best in range(len(alike)):
        if free[best]:
            objects[free & alike[best]] = best
            free &= ~alike[best]
    return torch.from_numpy(objects).to(same.device)


def _fuse_each(found: Tensor, draw: Tensor, objects: Tensor, draws: int) -> Tensor:
    """Fuse detections `[N, 6]`, best first, of O objects, the best of each draw, into `[O, 6]`."""
    numbers, place = torch.unique(objects, return_inverse=True)
    order = torch.arange(len(found), device=found.device)
    first = order.new_full((len(numbers) * draws,), len(found)).scatter_reduce(
        0, place * draws + draw, order, "amin"
    )
    best = torch.cat([found, found.new_full((1, 6), torch.nan)])[first].reshape(-1, draws, 6)
    box = best[..., :4].nanquantile(0.5, dim=1)
    score = best[..., 4].nan_to_num(0.0).sum(1, keepdim=True) / draws
    return torch.cat([box, score, found[numbers, 5:]], dim=1)
