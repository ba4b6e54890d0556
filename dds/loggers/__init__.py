"""Dashboards: W&B, and Lightning's other loggers."""

from dds.loggers.live import Live
from dds.loggers.loggers import Loggers

__all__ = ["Live", "Loggers"]
