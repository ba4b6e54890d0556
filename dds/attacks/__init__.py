from dds.attacks.apgd import APGD
from dds.attacks.base import Attack
from dds.attacks.feature_distance import FeatureDistance
from dds.attacks.mi_fgsm import MIFGSM
from dds.attacks.objectives import Objective, TaskLoss
from dds.attacks.pgd import PGD
from dds.attacks.purified_distance import PurifiedDistance
from dds.attacks.sia import SIA

__all__ = [
    "APGD",
    "MIFGSM",
    "PGD",
    "SIA",
    "Attack",
    "FeatureDistance",
    "Objective",
    "PurifiedDistance",
    "TaskLoss",
]
