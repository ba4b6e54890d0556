from typing import Any

import torch.distributed as dist


def gather(items: list[Any]) -> list[Any]:
    """Join what all processes hold, in the order of their ranks; lists may differ in length."""
    if not dist.is_initialized():
        return items
    lists: list[list[Any]] = [[]] * dist.get_world_size()
    dist.all_gather_object(lists, items)
    return [item for items in lists for item in items]
