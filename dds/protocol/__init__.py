from dds.protocol.bracket import Bracket
from dds.protocol.conditions import CLEAN, Condition, list_conditions
from dds.protocol.defences import NOTHING, Defence, Defences, Given, Sight, several
from dds.protocol.plan import Cost, Craft, Plan, Shown

__all__ = [
    "CLEAN",
    "NOTHING",
    "Bracket",
    "Condition",
    "Cost",
    "Craft",
    "Defence",
    "Defences",
    "Given",
    "Plan",
    "Shown",
    "Sight",
    "list_conditions",
    "several",
]
