from dds.tasks.base import BaseTask
from dds.tasks.classification import Classification
from dds.tasks.denoising import DenoiserTraining
from dds.tasks.depth import DepthEstimation
from dds.tasks.detection import ObjectDetection
from dds.tasks.multi_label import MultiLabelClassification
from dds.tasks.retrieval import ImageRetrieval
from dds.tasks.segmentation import SemanticSegmentation

__all__ = [
    "BaseTask",
    "Classification",
    "DenoiserTraining",
    "DepthEstimation",
    "ImageRetrieval",
    "MultiLabelClassification",
    "ObjectDetection",
    "SemanticSegmentation",
]
