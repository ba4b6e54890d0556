from dds.metrics.fidelity import fidelity

__all__ = ["fidelity"]
