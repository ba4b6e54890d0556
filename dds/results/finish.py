"""The end of a run: from the samples to everything that people read."""

import hashlib
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rich.console import Console
from torch import nn

from dds.data import BaseDataModule
from dds.protocol import Condition
from dds.results.figures import draw_figures
from dds.results.run_folder import RunFolder
from dds.results.summary import SCHEMA, summarise
from dds.results.table import summary_table
from dds.results.wandb_log import log_to_wandb
from dds.tasks import BaseTask

_PACKAGES = ("dds", "torch", "lightning", "torchmetrics", "timm", "segmentation-models-pytorch", "diffusers")


def finish(
    folder: RunFolder,
    task: BaseTask,
    data: BaseDataModule,
    conditions: Sequence[Condition],
    seed: int,
    facts: Mapping[str, Any],
    config: Mapping[str, Any],
    project: str | None,
    console: Console,
) -> None:
    """Write summary and figures, print the table, and log to W&B.

    Args:
        folder: The run's folder, with its samples.
        task: The task that was evaluated.
        data: On what.
        conditions: Under which conditions.
        seed: Seed of the evaluation, and of the bootstrap.
        facts: What `provenance` returned.
        config: The complete configuration.
        project: W&B project; None: do not log there.
        console: Where the table goes.
    """
    samples, votes = folder.read_tables()
    summary = {
        "schema": SCHEMA,
        "task": type(task).__name__,
        "data": type(data).__name__,
        "images": len(samples["index"].unique()),
        "seed": seed,
        **facts,
        "conditions": summarise(type(task), conditions, samples, votes, seed),
    }
    folder.write_summary(summary)
    figures = draw_figures(summary, folder.examples, folder.figures, task.utility)
    console.print(summary_table(summary, task.utility))
    if project is not None:
        console.print(log_to_wandb(folder, summary, {**config, **facts}, figures, project), soft_wrap=True)
    console.print(f"Results: {folder.path}", soft_wrap=True)


def provenance(networks: Mapping[str, nn.Module | None]) -> dict[str, dict[str, str]]:
    """Return the versions of what computes and the SHA-256 of the weights of each network."""
    return {
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        "weights": {name: weights_hash(network) for name, network in networks.items() if network is not None},
    }


def weights_hash(network: nn.Module) -> str:
    """Return the SHA-256 of a network's names, shapes and values."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
