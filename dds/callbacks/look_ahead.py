"""What of the work to come is known already."""

from typing import cast

import torch

from dds.batch import check_batch, check_images
from dds.callbacks.attack_and_purify import AttackAndPurify
from dds.data import BaseDataModule
from dds.store import KnownCrafts
from dds.tasks import BaseTask

LOOKED_AT = 64
"""How many images, at random, stand for all."""

_SEARCHED = 10_000  # images of a database; reading more would take too long for a look ahead


def count_known(protocol: AttackAndPurify, task: BaseTask, data: BaseDataModule) -> list[str] | None:
    """Count for each craft of the plan how many of its attacked images are known, e.g. `12 of 16`.

    Args:
        protocol: With a store.
        task: The task.
        data: Whose test images they are of.

    Returns:
        A text for each craft, an empty one where nothing is attacked; None where that would take too long.

    Raises:
        InputError: If the images are not where they should be.
    """
    known, some = protocol.known, data.at_most(LOOKED_AT)
    assert known is not None
    if task.target == "relevance" and not _meet_database(known, data):
        return None
    task.eval()
    protocol.place(task.device, cast(torch.dtype, task.dtype))
    known.begin([task, *protocol.defences.purifiers, *protocol.attacks.values()], [known.searched])
    names: list[list[str]] = [[] for _ in protocol.plan.crafts]
    for batch in some.test_dataloader():
        check_batch(batch, task.target)
        for of_craft, craft in zip(names, protocol.plan.crafts, strict=True):
            if craft.attack in protocol.attacks:
                for draw in range(craft.images):
                    of_craft += protocol.names_of(craft, task, batch, draw)[: batch["real"]]
    return [f"{known.store.count(each)} of {len(each)}" if each else "" for each in names]


def _meet_database(known: KnownCrafts, data: BaseDataModule) -> bool:
    loader = data.database_dataloader()
    if len(loader) * data.batch_size > _SEARCHED:
        return False
    for batch in loader:
        known.meet_searched(check_images(batch["image"]), batch["index"])
    return True
