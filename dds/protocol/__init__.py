from dds.protocol.conditions import CLEAN, Condition, list_conditions
from dds.protocol.plan import Cost, Craft, Plan

__all__ = ["CLEAN", "Condition", "Cost", "Craft", "Plan", "list_conditions"]
