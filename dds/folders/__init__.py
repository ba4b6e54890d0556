"""Folders of images that pass through a purifier without a task."""

from dds.folders.command import purify

__all__ = ["purify"]
