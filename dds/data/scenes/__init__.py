"""Rendered scenes, whose truth is known for every task."""

from dds.data.scenes.retrieval import SceneRetrieval
from dds.data.scenes.scenes import Scenes

__all__ = ["SceneRetrieval", "Scenes"]
