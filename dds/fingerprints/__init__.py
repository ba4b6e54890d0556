"""What tells networks, settings and code apart that compute differently."""

from dds.fingerprints.code import arithmetic, code_of
from dds.fingerprints.fingerprint import Fingerprint, NoFingerprintError
from dds.fingerprints.looks import Looks

__all__ = ["Fingerprint", "Looks", "NoFingerprintError", "arithmetic", "code_of"]
