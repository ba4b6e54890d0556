from dds.tasks.base import BaseTask
from dds.tasks.classification import Classification
from dds.tasks.denoising import DenoiserTraining
from dds.tasks.segmentation import SemanticSegmentation

__all__ = ["BaseTask", "Classification", "DenoiserTraining", "SemanticSegmentation"]
