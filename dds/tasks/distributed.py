from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def gather(items: list[Any]) -> list[Any]:
    """Join what all processes hold, in the order of their ranks; lists may differ in length."""
    if not dist.is_initialized():
        return items
    lists: list[list[Any]] = [[]] * dist.get_world_size()
    dist.all_gather_object(lists, items)
    return [item for items in lists for item in items]


def gather_rows(indices: Sequence[Tensor], rows: Sequence[Tensor], device: torch.device) -> Tensor:
    """Join the rows of a table that all processes hold, in the order of their indices.

    Args:
        indices: `[n]` each, where rows belong; over all processes each of 0 to D - 1 once.
        rows: `[n, F]` each; a process may have none.
        device: Where the result goes, and where processes exchange rows: one at a time sends its own.

    Returns:
        `[D, F]`
    """
    index = torch.cat([torch.empty(0, dtype=torch.int64), *indices])
    if not dist.is_initialized():
        return torch.cat(list(rows))[index.argsort()].to(device)
    kind = (index.shape[0], rows[0].shape[1], rows[0].dtype) if rows else (0, 0, None)
    kinds = gather([kind])
    features, dtype = next((width, dtype) for count, width, dtype in kinds if count)
    table = torch.empty(sum(count for count, *_ in kinds), features, dtype=dtype, device=device)
    for rank, (count, *_) in enumerate(kinds):
        own = rank == dist.get_rank() and count
        place = index.to(device) if own else torch.empty(count, dtype=torch.int64, device=device)
        part = torch.cat(list(rows)).to(device) if own else table.new_empty(count, features)
        dist.broadcast(place, rank)
        dist.broadcast(part, rank)
        table[place] = part
    return table
