"""Attacked images that are kept, so that none is made twice."""

from dds.store.crafts import Crafted, KnownCrafts
from dds.store.store import GIB, Store, open_store

__all__ = ["GIB", "Crafted", "KnownCrafts", "Store", "open_store"]
