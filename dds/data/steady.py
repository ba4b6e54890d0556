from typing import Any

import torch
from torch.utils.data import Dataset

from dds.noise import generator_of


class Steady(Dataset[Any]):
    """Reads a batch alike each time, in every process, though its data set varies samples at random.

    Args:
        dataset: Whose random numbers are torch's.
    """

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __getitems__(self, indices: list[int]) -> list[Any]:
        """Read a batch, at once where the data set can."""
        read = getattr(self.dataset, "__getitems__", lambda them: [self.dataset[index] for index in them])
        with torch.random.fork_rng(devices=[]):
            torch.random.set_rng_state(generator_of(("training", *indices)).get_state())
            return read(indices)
