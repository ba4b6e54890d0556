from dds.attacks.base import Attack
from dds.attacks.mi_fgsm import MIFGSM
from dds.attacks.objectives import Objective, TaskLoss
from dds.attacks.pgd import PGD

__all__ = ["MIFGSM", "PGD", "Attack", "Objective", "TaskLoss"]
