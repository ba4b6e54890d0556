"""Trainings that are watched, stopped and gone on with."""

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dds.callbacks import ProgressLines
from dds.tasks import BaseTask
from dds.training import train

ROOT = Path(__file__).parents[1]
RECIPE = """
task:
  class_path: SemanticSegmentation
  init_args: {model: {class_path: conftest.TinySegmenter, init_args: {classes: 8}}}
data: {class_path: Scenes, init_args: {size: 16, batch_size: 2, train_images: 8, val_images: 2}}
trainer: {max_steps: 6, accelerator: cpu}
"""
STEPS = 6


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE)
    return path


def run(recipe, *options):
    train([f"--config={recipe}", f"--runs={recipe.parent}", *options])
    return recipe.parent / "train" / "tiny"


def step_of(folder):
    return torch.load(folder / "last.ckpt", weights_only=False)["global_step"]


def losses(folder):
    with (folder / "log" / "version_0" / "metrics.csv").open() as file:
        return [row["step"] for row in csv.DictReader(file) if row["train/loss"]]


def send(monkeypatch, number, method="training_step", at=3):
    """Send this process a signal within the nth call of a method of the task."""
    inner, calls = getattr(BaseTask, method), []

    def called(self, *arguments):
        calls.append(None)
        if len(calls) == at:
            os.kill(os.getpid(), number)
        return inner(self, *arguments)

    monkeypatch.setattr(BaseTask, method, called)


@pytest.fixture
def audible():
    """Tests in the background are told to ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_training_after_its_step_and_says_how_to_go_on(
    recipe, monkeypatch, audible, capsys, number, status
):
    with monkeypatch.context() as patch:
        send(patch, number)
        with pytest.raises(SystemExit) as stopped:
            run(recipe)
    folder = recipe.parent / "train" / "tiny"
    assert stopped.value.code == status
    message = f"Stopped by {number.name}. Step 3 is kept in {folder / 'last.ckpt'}; go on by the same command"
    assert f"{message} and --resume." in capsys.readouterr().err
    assert step_of(folder) == 3
    assert losses(folder) == ["0", "1", "2"]
    run(recipe, "--resume")
    assert step_of(folder) == STEPS
    assert f"Weights: {folder / 'model.safetensors'}" in capsys.readouterr().out


def test_a_signal_before_the_first_step_asks_for_no_resume(recipe, monkeypatch, audible, capsys):
    send(monkeypatch, signal.SIGTERM, "validation_step", at=1)
    with pytest.raises(SystemExit) as stopped:
        run(recipe)
    assert stopped.value.code == 143
    assert "No step is kept yet; go on by the same command." in capsys.readouterr().err


def test_a_validation_is_cut_and_gone_on_with(recipe, monkeypatch, audible, capsys):
    with monkeypatch.context() as patch:
        send(patch, signal.SIGTERM, "validation_step", at=2)  # the first comes before any training
        with pytest.raises(SystemExit):
            run(recipe)
    assert "Step 4 is kept" in capsys.readouterr().err
    assert step_of(run(recipe, "--resume")) == STEPS


def test_a_second_signal_does_not_wait_for_the_step(recipe, monkeypatch, audible, capsys):
    send(monkeypatch, signal.SIGTERM)
    send(monkeypatch, signal.SIGINT)
    with pytest.raises(SystemExit) as stopped:
        run(recipe, "--checkpoint_every=2")
    assert stopped.value.code in (130, 143)
    assert "Step 2 is kept" in capsys.readouterr().err


def test_a_training_speaks_from_its_first_step(recipe, capsys):
    folder = run(recipe)
    said = capsys.readouterr().out
    assert "Step 1 of 6 after 0 s: train/loss" in said
    assert "Step 6 of 6" in said
    assert "val/mIoU" in said
    assert losses(folder) == [str(step) for step in range(STEPS)]


def test_a_training_that_shall_be_silent_shows_no_progress(recipe, capsys):
    run(recipe, "--trainer.enable_progress_bar=false")
    assert "Step" not in capsys.readouterr().out


def test_of_several_processes_the_first_one_speaks(monkeypatch, recipe, capsys):
    """Lightning disables the bars of the others."""
    monkeypatch.setattr(ProgressLines, "setup", lambda self, *arguments, **options: self.disable())
    monkeypatch.setattr(ProgressLines, "get_metrics", None)
    run(recipe)
    assert "Step" not in capsys.readouterr().out


def test_a_place_that_cannot_be_written_is_named(recipe, capsys):
    with pytest.raises(SystemExit) as stopped:
        train([f"--config={recipe}", "--runs=/proc/nothing"])
    assert stopped.value.code == 2
    assert "/proc/nothing/train/tiny cannot be written" in capsys.readouterr().err


def test_a_stopped_process_can_be_gone_on_with(recipe):
    """As a cluster stops it: the process itself, its exit status, what it leaves."""
    command = [sys.executable, str(ROOT / "train.py"), f"--config={recipe}", f"--runs={recipe.parent}"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    process = subprocess.Popen(
        [*command, "--trainer.max_steps=1000000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert any(line.startswith("Step 1 of 1000000") for line in process.stdout)
    process.terminate()
    message = process.communicate(timeout=60)[1]
    assert process.returncode == 143, message
    assert "Stopped by SIGTERM. Step" in message
    assert "Traceback" not in message
    kept = step_of(recipe.parent / "train" / "tiny")
    assert kept > 0
    assert f"Step {kept} is kept" in message
