from dds.callbacks.attack_and_purify import AttackAndPurify
from dds.callbacks.progress import NetworkProgress

__all__ = ["AttackAndPurify", "NetworkProgress"]
