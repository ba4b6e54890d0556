from dds.attacks.base import Attack
from dds.attacks.objectives import Objective, TaskLoss
from dds.attacks.pgd import PGD

__all__ = ["PGD", "Attack", "Objective", "TaskLoss"]
