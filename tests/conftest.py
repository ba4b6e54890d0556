import multiprocessing
import os
import socket
from inspect import isabstract
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
import torch
from torch import nn

from dds.metrics import Resampling

os.environ["WANDB_MODE"] = "offline"
os.environ["DDS_STORE"] = "false"  # tests of it name a place
os.environ.setdefault("OMP_NUM_THREADS", "1")  # several small processes are faster than several threads
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data and weights that are not part of the project; tests that need them skip without."""
    path = Path(__file__).parents[2] / "shared" / "data"
    if not path.is_dir():
        pytest.skip("the shared data is not here")
    return path


@pytest.fixture
def without_figures(monkeypatch):
    """Leave out the figures of runs, which take longer than a small run does."""
    monkeypatch.setattr("dds.reports.page.draw_figures", lambda summary, examples, folder: [])


def run_processes(count, work, *arguments):
    """Run `work(rank, *arguments)` in processes as torchrun starts them, and return their exit statuses.

    Forked, as importing the package anew takes seconds.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    fork = multiprocessing.get_context("fork")
    started = [
        fork.Process(target=_as_process, args=(rank, count, port, work, arguments)) for rank in range(count)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(100)
    return [process.exitcode for process in started]


def _as_process(rank, count, port, work, arguments):
    world = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test", "GROUP_RANK": 0}
    os.environ.update({name: str(value) for name, value in {**world, **place}.items()})
    work(rank, *arguments)


def assert_same_samples(one, two, atol=0.0):
    """Compare `samples.parquet` of two run folders: the same rows, and statistics to `atol`."""
    import pandas as pd

    rows = ["index", "condition", "draw"]
    one, two = (pd.read_parquet(folder / "samples.parquet").sort_values(rows) for folder in (one, two))
    assert set(one) == set(two)
    assert one[rows].to_numpy().tolist() == two[rows].to_numpy().tolist()
    for column in one.columns.drop(rows):
        here, there = (np.stack(table[column].to_numpy()).astype(float) for table in (one, two))
        np.testing.assert_allclose(here, there, rtol=0, atol=atol, err_msg=column)


def complete_purifiers():
    """Return the purifiers that users name."""
    import dds.purifiers

    named = {getattr(dds.purifiers, name) for name in dds.purifiers.__all__}
    return {one for one in named if issubclass(one, dds.purifiers.Purifier) and not isabstract(one)}


class TinyNoiseNetwork(nn.Module):
    """A smooth noise predictor that depends on t, small enough for finite differences."""

    def __init__(self, outputs: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, outputs, 3, padding=1)

    def forward(self, noisy, t):
        scale = (1 + t.to(noisy) / 1000).reshape(-1, 1, 1, 1)
        return torch.tanh(self.conv(noisy)) * scale


class TinyClassifier(nn.Module):
    """Four classes, smooth."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.GELU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, 4)
        )

    def forward(self, image):
        return self.body(image)


def art_classifier(network):
    """Hand a classifier of 8x8 images to the Adversarial Robustness Toolbox."""
    from art.estimators.classification import PyTorchClassifier

    loss = nn.CrossEntropyLoss()
    return PyTorchClassifier(network, loss, (3, 8, 8), nb_classes=4, clip_values=(0, 1), device_type="cpu")


class TinySegmenter(nn.Module):
    """Five classes, at the image's resolution."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.GELU(), nn.Conv2d(8, classes, 3, padding=1)
        )

    def forward(self, image):
        return self.body(image)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(3))


def metrics_of(task, pairs):
    """Return the data-set metrics of decisions and their batches, given in any number of parts."""
    metrics, first = task.metrics(Resampling(replicates=0)), 0
    for decision, batch in pairs:
        statistics = task.statistics(decision, batch)
        index = first + torch.arange(len(decision))
        metrics.update(index=index, **statistics)
        first += len(index)
    return {name: value.item() for name, value in metrics.compute().items()}


class Table:
    """A table in memory, read as the files of a run are."""

    def __init__(self, rows):
        self._rows = rows

    def of(self, condition):
        rows = self._rows.filter(pc.equal(self._rows["condition"], condition))
        return rows.drop_columns([name for name in rows.column_names if rows[name].null_count == len(rows)])


class Weights:
    """Data sets in which each image is as often as it says, `[R, N]`."""

    def __init__(self, weights):
        self.replicates, self._weights = len(weights) - 1, torch.as_tensor(weights).double().T

    def weights(self, index):
        return self._weights[index]


def resampled_metrics(task, statistics, weights):
    """Return the metrics, `[R]` each, of what was measured of N images on R data sets."""
    metrics = task.metrics(Weights(weights))
    given = {name: torch.as_tensor(value) for name, value in statistics.items()}
    metrics.update(index=torch.arange(len(next(iter(given.values())))), **given)
    return {name: value.numpy() for name, value in metrics.compute().items()}


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Stand for SLURM's commands; return the folder where they are, with what `scontrol` was told."""
    folder = tmp_path / "bin"
    folder.mkdir()
    answers = {
        "sbatch": "echo Submitted batch job 4242",
        "srun": "exit 1",
        "scontrol": f'echo "$@" >> {folder / "scontrol.log"}',
    }
    for name, answer in answers.items():
        (folder / name).write_text(f"#!/bin/sh\n{answer}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder
