from dds.models.detectors.small_detector import small_fcos
from dds.models.dinov2.dinov2 import DinoClassifier, DinoDepth, DinoSegmenter
from dds.models.gem import GeM
from dds.models.hub.huggingface import huggingface
from dds.models.hub.zero_shot import zero_shot
from dds.models.linear_head import LinearHead
from dds.models.onnx_network import MergedClasses, onnx
from dds.models.torchvision_network import torchvision_network
from dds.models.weights import pretrained

__all__ = [
    "DinoClassifier",
    "DinoDepth",
    "DinoSegmenter",
    "GeM",
    "LinearHead",
    "MergedClasses",
    "huggingface",
    "onnx",
    "pretrained",
    "small_fcos",
    "torchvision_network",
    "zero_shot",
]
