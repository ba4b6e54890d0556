"""Imported before everything else, so that a start takes no longer than it must."""

import sys
from typing import Any

from lightning_utilities.core.imports import RequirementCache


def spare_transformers() -> None:
    """Import torchmetrics without transformers, which takes seconds.

    Where it is installed, torchmetrics takes it for metrics of texts, which nothing here uses; these are
    then missing from torchmetrics, unless it was imported before.
    """
    if "torchmetrics" in sys.modules:
        return
    cache: Any = RequirementCache
    is_there = cache.__bool__

    def is_wanted(requirement: RequirementCache) -> bool:
        return not str(requirement.requirement).startswith("transformers") and bool(is_there(requirement))

    cache.__bool__ = is_wanted
    try:
        import torchmetrics  # noqa: F401
    finally:
        cache.__bool__ = is_there


spare_transformers()
