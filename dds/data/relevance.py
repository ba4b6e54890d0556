from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dds.batch import Relevance
from dds.data.base import Sample

Places = Mapping[Relevance, NDArray[np.int64]]
"""Where in the database the images of each grade are; all others are negative."""


class Relevances(Sequence[Sample]):
    """What the images of a database are to each query, as entries of its sample.

    A row of a large database is made when it is asked for: all of them together would fill the memory.

    Args:
        places: Of each query.
        images: D, how many images the database has.
        others: What else is known of each query.
    """

    def __init__(
        self, places: Sequence[Places], images: int, others: Sequence[Mapping[str, Any]] | None = None
    ) -> None:
        self._places, self._images, self._others = places, images, others or [{}] * len(places)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, query: Any) -> Any:
        """Return `relevance`, `[D]` int8, and what else is known."""
        relevance = torch.full((self._images,), Relevance.NEGATIVE, dtype=torch.int8)
        for grade, places in self._places[query].items():
            relevance[torch.from_numpy(places)] = grade
        return {**self._others[query], "relevance": relevance}
