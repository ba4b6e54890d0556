from dds.attacks.apgd import APGD
from dds.attacks.attacked_images import AttackedImages
from dds.attacks.base import Attack
from dds.attacks.gradient import expected_gradient, project
from dds.attacks.libraries.art_attack import ArtAttack
from dds.attacks.libraries.auto_attack import AutoAttack
from dds.attacks.low_frequency import LowFrequency
from dds.attacks.mi_fgsm import MIFGSM
from dds.attacks.objectives.base import AttackedTask, Calls, Objective, Purify, TaskLoss, Value
from dds.attacks.objectives.cos_pgd import CosPGD
from dds.attacks.objectives.depth_error import RootMeanSquareError
from dds.attacks.objectives.feature_distance import FeatureDistance
from dds.attacks.objectives.margin import DLR, Margin
from dds.attacks.objectives.mask_losses import BalancedMaskedCrossEntropy, JensenShannon, MaskedCrossEntropy
from dds.attacks.objectives.no_objects import Disappearance, FalseAlarm
from dds.attacks.objectives.predicted_noise import PredictedNoise
from dds.attacks.objectives.purified_distance import PurifiedDistance
from dds.attacks.objectives.purified_twice import PurifiedTwice
from dds.attacks.objectives.seg_pgd import SegPGD
from dds.attacks.objectives.targeted_loss import TargetedLoss
from dds.attacks.objectives.task_score import TaskScore
from dds.attacks.optimiser import Optimiser
from dds.attacks.patch import Patch
from dds.attacks.pgd import PGD
from dds.attacks.sia import SIA
from dds.attacks.spatial import StAdv
from dds.attacks.square import Square
from dds.attacks.strongest import Strongest
from dds.attacks.transfer import Transfer
from dds.attacks.universal import Universal
from dds.attacks.worst_of import WorstOf

__all__ = [
    "APGD",
    "DLR",
    "MIFGSM",
    "PGD",
    "SIA",
    "ArtAttack",
    "Attack",
    "AttackedImages",
    "AttackedTask",
    "AutoAttack",
    "BalancedMaskedCrossEntropy",
    "Calls",
    "CosPGD",
    "Disappearance",
    "FalseAlarm",
    "FeatureDistance",
    "JensenShannon",
    "LowFrequency",
    "Margin",
    "MaskedCrossEntropy",
    "Objective",
    "Optimiser",
    "Patch",
    "PredictedNoise",
    "PurifiedDistance",
    "PurifiedTwice",
    "Purify",
    "RootMeanSquareError",
    "SegPGD",
    "Square",
    "StAdv",
    "Strongest",
    "TargetedLoss",
    "TaskLoss",
    "TaskScore",
    "Transfer",
    "Universal",
    "Value",
    "WorstOf",
    "expected_gradient",
    "project",
]
