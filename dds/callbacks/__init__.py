from dds.callbacks.attack_and_purify import AttackAndPurify
from dds.callbacks.certificate_draws import CertificateDraws
from dds.callbacks.progress import NetworkProgress
from dds.callbacks.progress_lines import ProgressLines

__all__ = ["AttackAndPurify", "CertificateDraws", "NetworkProgress", "ProgressLines"]
