import numpy as np
from torch import Tensor

CONFIDENCE = 95.0

Interval = dict[str, float | None]
"""`value`, `low` and `high`; None: there is none."""


def interval(replicates: Tensor) -> Interval:
    """Return the value on all images and the percentile interval of its bootstrap replicates.

    Args:
        replicates: `[1 + R]`, the value on the data set first; data sets without a finite one are left out.
    """
    value, replicates = replicates.flatten()[0], replicates.flatten()[1:]
    finite = replicates[replicates.isfinite()].numpy()
    tail = (100 - CONFIDENCE) / 2
    low, high = np.percentile(finite, [tail, 100 - tail]) if len(finite) else (np.nan, np.nan)
    named = {"value": value.item(), "low": low, "high": high}
    return {name: float(value) if np.isfinite(value) else None for name, value in named.items()}
