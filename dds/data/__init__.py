from dds.data.ade20k import Ade20k
from dds.data.base import BaseDataModule
from dds.data.camvid import CamVid
from dds.data.cifar10 import Cifar10
from dds.data.cifar100 import Cifar100
from dds.data.cityscapes import Cityscapes
from dds.data.coco import CocoDetection
from dds.data.coco_boxes import CocoBoxes
from dds.data.depth_pairs import DepthPairs
from dds.data.given import GivenData
from dds.data.given_retrieval import GivenRetrieval
from dds.data.hub_dataset import GivenTable, HubDataset
from dds.data.image_folder import ImageFolder
from dds.data.labelled_retrieval import LabelledRetrieval
from dds.data.nyu_depth import NyuDepth
from dds.data.revisited import RevisitedRetrieval
from dds.data.scenes.retrieval import SceneRetrieval
from dds.data.scenes.scenes import Scenes
from dds.data.segmentation_pairs import SegmentationPairs
from dds.data.voc_classification import VocClassification
from dds.data.voc_segmentation import VocSegmentation
from dds.data.yolo_boxes import YoloBoxes

__all__ = [
    "Ade20k",
    "BaseDataModule",
    "CamVid",
    "Cifar10",
    "Cifar100",
    "Cityscapes",
    "CocoBoxes",
    "CocoDetection",
    "DepthPairs",
    "GivenData",
    "GivenRetrieval",
    "GivenTable",
    "HubDataset",
    "ImageFolder",
    "LabelledRetrieval",
    "NyuDepth",
    "RevisitedRetrieval",
    "SceneRetrieval",
    "Scenes",
    "SegmentationPairs",
    "VocClassification",
    "VocSegmentation",
    "YoloBoxes",
]
