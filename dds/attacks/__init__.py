from dds.attacks.apgd import APGD
from dds.attacks.art_attack import ArtAttack
from dds.attacks.auto_attack import AutoAttack
from dds.attacks.base import Attack
from dds.attacks.cos_pgd import CosPGD
from dds.attacks.feature_distance import FeatureDistance
from dds.attacks.margin import DLR, Margin
from dds.attacks.mask_losses import BalancedMaskedCrossEntropy, JensenShannon, MaskedCrossEntropy
from dds.attacks.mi_fgsm import MIFGSM
from dds.attacks.objectives import Objective, TaskLoss
from dds.attacks.optimiser import Optimiser
from dds.attacks.pgd import PGD
from dds.attacks.predicted_noise import PredictedNoise
from dds.attacks.purified_distance import PurifiedDistance
from dds.attacks.seg_pgd import SegPGD
from dds.attacks.sia import SIA
from dds.attacks.square import Square
from dds.attacks.targeted_loss import TargetedLoss
from dds.attacks.task_score import TaskScore
from dds.attacks.worst_of import WorstOf

__all__ = [
    "APGD",
    "DLR",
    "MIFGSM",
    "PGD",
    "SIA",
    "ArtAttack",
    "Attack",
    "AutoAttack",
    "BalancedMaskedCrossEntropy",
    "CosPGD",
    "FeatureDistance",
    "JensenShannon",
    "Margin",
    "MaskedCrossEntropy",
    "Objective",
    "Optimiser",
    "PredictedNoise",
    "PurifiedDistance",
    "SegPGD",
    "Square",
    "TargetedLoss",
    "TaskLoss",
    "TaskScore",
    "WorstOf",
]
