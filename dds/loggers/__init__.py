"""Dashboards: W&B, and Lightning's other loggers."""

from dds.loggers.loggers import Loggers, log_to

__all__ = ["Loggers", "log_to"]
