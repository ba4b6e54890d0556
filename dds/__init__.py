"""What Diffusion Denoised Smoothing buys and costs, for your vision task and your model.

import dds

task = dds.tasks.Classification(network, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
purifier = dds.purifiers.DiffusionDenoiser("google/ddpm-cifar10-32")
protocol = dds.AttackAndPurify(purifier, [50, 145], attacks={"pgd": dds.attacks.PGD()})
dds.evaluate(task, loader, protocol).table
"""

from dds import attacks, certificates, controls, data, models, purifiers, tasks
from dds.callbacks import AttackAndPurify
from dds.errors import InputError
from dds.evaluation import certify, evaluate
from dds.results import Results
from dds.runs.provenance import version_of

__version__ = version_of("dds")

__all__ = [
    "AttackAndPurify",
    "InputError",
    "Results",
    "attacks",
    "certificates",
    "certify",
    "controls",
    "data",
    "evaluate",
    "models",
    "purifiers",
    "tasks",
]
