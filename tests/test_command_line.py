"""The command line around a run: help, plans, machines, terminals, and what a failed start leaves."""

import io
import json
import re
import shlex
import sys
from pathlib import Path

import pytest
import torch
from conftest import TinyClassifier, TinyNoiseNetwork
from torch import nn

import dds
from dds.cli import evaluate
from dds.streams import never_fail_to_print
from dds.trainer import build_trainer, check_precision, warn_of_lone_processes

pytestmark = pytest.mark.usefixtures("without_figures")

SMALL = [
    "--config=cls_scenes.yaml",
    "--protocol.noise_levels=[50]",
    "--protocol.draws=1",
    "--protocol.attacks.pgd.init_args.steps=1",
    "--data.limit=2",
    "--trainer.accelerator=cpu",
]


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(capsys, *options):
    with pytest.raises(SystemExit) as end:
        evaluate([*SMALL, *options])
    said = capsys.readouterr().err
    assert end.value.code == 2, said
    return next(line for line in said.splitlines() if line.startswith("error"))


def help_on(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        evaluate(list(arguments))
    assert end.value.code == 0
    return capsys.readouterr().out.splitlines()


# Help


@pytest.mark.parametrize(
    "arguments", [["--task.help", "SemanticSegmentation"], ["--data.help=dds.data.Scenes"]]
)
def test_help_on_a_class_is_a_page(capsys, arguments):
    lines = help_on(capsys, *arguments)
    assert len(lines) < 80
    assert not any("trainer" in line for line in lines)


def test_own_settings_come_before_those_of_the_base(capsys):
    text = "\n".join(help_on(capsys, "--data.help", "Scenes"))
    assert re.search(
        r"Settings of Scenes:.*size: Height.*Settings of BaseDataModule:.*batch_size", text, re.DOTALL
    )


def test_functions_and_nested_settings_have_help(capsys):
    text = "\n".join(help_on(capsys, "--config=seg_scenes.yaml", "--task.model.help=dds.models.pretrained"))
    assert "Load a weights file into any network" in text
    assert "strip: A prefix to take off every name" in text
    text = "\n".join(help_on(capsys, "--task.model.help", "timm.create_model"))
    assert "under dict_kwargs, beside class_path" in text
    text = "\n".join(help_on(capsys, "--protocol.attacks.pgd.help=PGD"))
    assert "norm: `linf` or `l2` (linf or l2; default: linf)" in text


def test_help_lists_what_there_is(capsys):
    text = "\n".join(help_on(capsys, "--protocol.attacks.help"))
    assert "PGD: Projected gradient descent" in text
    assert "one of Classification" in " ".join(" ".join(help_on(capsys, "--help")).split())


@pytest.mark.parametrize("option", ["--task.help=Clasification", "--task.model.help=timm.nothing"])
def test_help_on_nothing_is_an_error(capsys, option):
    assert option in refused(capsys, option)


def test_the_plan_in_numbers(in_folder, capsys):
    evaluate([*SMALL, "--plan", "--show=json"])
    plan = json.loads(capsys.readouterr().out)
    crafts = {craft["conditions"][0]: craft["calls"] for craft in plan["crafts"]}
    assert plan["conditions"] == [key for craft in plan["crafts"] for key in craft["conditions"]]
    assert crafts["pgd/same/t50"]["purifier"] == {"forward": 1, "backward": 1}
    assert plan["total"]["task"]["backward"] == 2
    assert plan["exact"] is True
    evaluate([*SMALL, "--plan", "--show=json", "--conditions=clean/*"])
    assert json.loads(capsys.readouterr().out)["conditions"] == ["clean/-/t0", "clean/-/t50"]
    assert not list(in_folder.iterdir())


# The machine

WRONG_MACHINE = {
    "no GPU": (["--trainer.accelerator=gpu"], {}, ["trainer.accelerator=gpu", "gpu"]),
    "strategy": (["--trainer.strategy=nonsense"], {}, ["trainer.strategy=nonsense", "strategy"]),
    "package": (["--trainer.strategy=deepspeed"], {}, ["trainer.strategy=deepspeed", "DeepSpeed"]),
    "devices": (["--trainer.devices=lots"], {}, ["trainer.devices=lots", "int > 0"]),
    "no devices": (["--trainer.devices=0"], {}, ["trainer.devices=0"]),
    "nodes": (["--trainer.num_nodes=0"], {}, ["trainer.num_nodes=0"]),
    "profiler": (["--trainer.profiler=nothing"], {}, ["trainer.profiler=nothing"]),
    "half": (["--trainer.precision=16-true"], {}, ["trainer.precision=16-true", "bf16-mixed"]),
    "bfloat16": (["--trainer.precision=bf16-true"], {}, ["trainer.precision=bf16-true", "32-true"]),
    "sbatch": (
        [],
        {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "2", "SLURM_JOB_NAME": "x", "SLURM_JOB_NODELIST": "localhost"},
        ["--ntasks=2", "--ntasks-per-node=2"],
    ),
}


@pytest.mark.parametrize("case", WRONG_MACHINE)
def test_what_the_machine_cannot_do_is_one_line(in_folder, monkeypatch, capsys, case):
    options, environment, words = WRONG_MACHINE[case]
    if case == "no GPU":
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    line = refused(capsys, *options)
    assert all(word in line for word in words), line
    assert not list(in_folder.iterdir())


@pytest.mark.parametrize("precision", [None, 32, "32", "64-true", "bf16-mixed", "16-mixed"])
def test_precisions_that_keep_images_exact_are_taken(precision):
    check_precision(precision)


@pytest.mark.parametrize("name", ["SLURM_NTASKS", "WORLD_SIZE"])
def test_processes_that_would_each_do_all_the_work_are_warned(monkeypatch, capsys, name):
    alone = build_trainer(accelerator="cpu", logger=False, enable_checkpointing=False, devices=1)
    warn_of_lone_processes(alone)
    monkeypatch.setenv(name, "1")
    warn_of_lone_processes(alone)
    assert not capsys.readouterr().err
    monkeypatch.setenv(name, "2")
    warn_of_lone_processes(alone)
    assert f"{name}=2), and each measures everything" in capsys.readouterr().err


# Terminals and paths


def test_any_terminal_and_any_path(in_folder, monkeypatch):
    """Results are complete on a terminal that knows neither σ nor ±, and what is printed can be pasted."""
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    runs = in_folder / "my [x] :smile: runs"
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", terminal)
        evaluate([*SMALL, "--protocol.attacks=null", f"--runs={runs}", "--name=a b", "--logger=true"])
    terminal.flush()
    said = terminal.buffer.getvalue().decode("ascii")
    assert "?" in said
    (results,) = re.findall("^Results: (.*)$", said, re.MULTILINE)
    assert Path(results) == runs / "cls_scenes" / "a b"
    (report,) = re.findall("^Report: (.*)$", said, re.MULTILINE)
    assert Path(report).is_file()
    (command,) = re.findall("send it with: (wandb sync .*)$", said, re.MULTILINE)
    assert Path(shlex.split(command)[2]).is_dir()


def test_the_page_is_there_before_the_table(in_folder, monkeypatch):
    done = []
    monkeypatch.setattr("dds.cli.write_report", lambda *arguments: done.append("page"))
    monkeypatch.setattr("dds.cli.summary_tables", lambda *arguments: done.append("table") or [])
    evaluate([*SMALL, "--protocol.attacks=null", "--runs=runs", "--logger=false"])
    assert done == ["page", "table"]


def test_a_stream_that_is_not_strict_is_left_as_it_is():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="cp1252", errors="backslashreplace")
    never_fail_to_print(stream, io.StringIO())
    assert stream.errors == "backslashreplace"


# What a failed start leaves


class Failing(nn.Module):
    """Works once, as at the rehearsal, and fails at its first batch."""

    def __init__(self):
        super().__init__()
        self.body, self.calls = TinyClassifier(), 0

    def forward(self, image):
        self.calls += 1
        if self.calls > 3:
            raise RuntimeError("out of memory")
        return self.body(image)


@pytest.mark.parametrize(
    "more", [[], ["--resume", "--name=a"], ["--share=auto", "--name=a"], ["--conditions=clean/*", "--name=a"]]
)
def test_a_failed_start_leaves_nothing(in_folder, monkeypatch, more):
    monkeypatch.setattr(dds.tasks.Classification, "statistics", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        evaluate([*SMALL, "--runs=deep/runs", "--logger=false", *more])
    assert not list(in_folder.iterdir())


@pytest.mark.parametrize("options", [{}, {"folder": "deep/run"}, {"folder": "deep/run", "resume": True}])
def test_a_failed_start_from_python_leaves_nothing(in_folder, options):
    protocol = dds.AttackAndPurify(dds.purifiers.DiffusionDenoiser(TinyNoiseNetwork()), [50])
    pairs = [(torch.rand(3, 8, 8), 0)] * 2
    with pytest.raises(dds.InputError, match="out of memory"):
        dds.evaluate(
            dds.tasks.Classification(Failing()), pairs, protocol, accelerator="cpu", quiet=True, **options
        )
    assert not list(in_folder.iterdir())


def test_what_is_refused_from_python_names_its_arguments(in_folder):
    protocol = dds.AttackAndPurify(attacks={})
    given = dds.tasks.Classification(TinyClassifier()), [(torch.rand(3, 8, 8), 0)] * 2, protocol
    Path("run").mkdir()
    Path("run/photo.jpg").write_text("")
    with pytest.raises(dds.InputError, match=r"run is not empty\. Give another folder=, .* by resume=True"):
        dds.evaluate(*given, folder="run", accelerator="cpu", quiet=True)
    with pytest.raises(dds.InputError, match="^precision=16-true"):
        dds.evaluate(*given, folder="other", accelerator="cpu", quiet=True, precision="16-true")
    assert not Path("other").exists()


def test_runs_of_one_second_have_names_of_their_own(in_folder, monkeypatch):
    monkeypatch.setattr("dds.options.new_name", lambda: "now")
    monkeypatch.setattr("dds.cli._finish", lambda *arguments: None)
    for _ in range(2):
        evaluate([*SMALL, "--protocol.attacks=null", "--runs=runs", "--logger=false"])
    assert sorted(path.name for path in Path("runs/cls_scenes").iterdir()) == ["now", "now_2"]
    assert all((path / "summary.json").is_file() for path in Path("runs/cls_scenes").iterdir())
