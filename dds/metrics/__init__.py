"""What is measured: functions of single images, and torchmetrics' metrics of data sets over them."""

from dds.metrics.average_precision import LabelAveragePrecision
from dds.metrics.condition import ConditionMetrics
from dds.metrics.detection import CocoAveragePrecision
from dds.metrics.fidelity import fidelity, perturbation
from dds.metrics.labels import LabelAccuracy
from dds.metrics.mean import Mean
from dds.metrics.resampled import Resampled
from dds.metrics.resampling import Resampling
from dds.metrics.robustness import AttackSuccess, MeanOverDraws, UtilityDrop, WorstDraw
from dds.metrics.segmentation import JaccardIndex, PixelAccuracy

__all__ = [
    "AttackSuccess",
    "CocoAveragePrecision",
    "ConditionMetrics",
    "JaccardIndex",
    "LabelAccuracy",
    "LabelAveragePrecision",
    "Mean",
    "MeanOverDraws",
    "PixelAccuracy",
    "Resampled",
    "Resampling",
    "UtilityDrop",
    "WorstDraw",
    "fidelity",
    "perturbation",
]
