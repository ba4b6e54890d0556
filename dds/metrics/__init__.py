from dds.metrics.fidelity import fidelity, perturbation

__all__ = ["fidelity", "perturbation"]
