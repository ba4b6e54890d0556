"""YOLOX by the name that configurations use; see `dds.models.detectors`."""

from dds.models.detectors.yolox import YoloX

__all__ = ["YoloX"]
