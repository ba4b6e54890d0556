"""DINOv2 with the heads of its authors."""

from dds.models.dinov2.dinov2 import DinoClassifier, DinoDepth, DinoSegmenter

__all__ = ["DinoClassifier", "DinoDepth", "DinoSegmenter"]
