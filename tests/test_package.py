"""The package as it is installed: what the wheel holds, its version, and the command `dds`."""

import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

import dds
from dds import __main__ as program_dds
from dds.__main__ import main
from dds.cli import COMMANDS
from dds.command_line import CONFIGS, find_config, program
from dds.errors import InputError

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    (built,) = folder.glob("*.whl")
    return ZipFile(built)


def test_the_wheel_holds_all_of_the_package_and_nothing_else(wheel):
    paths = [path for room in ("dds", "configs") for path in (ROOT / room).rglob("*") if path.is_file()]
    files = {str(path.relative_to(ROOT)).removeprefix("dds/") for path in paths}
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == {f"dds/{name}" for name in files if "__pycache__" not in name}
    for kind in (".css", ".j2", ".js", ".safetensors", ".typed", ".yaml"):
        assert any(name.endswith(kind) for name in held), kind


def test_the_wheel_brings_the_command(wheel):
    (entry_points,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    assert "dds = dds.__main__:main" in wheel.read(entry_points).decode()


def test_the_version_is_that_of_the_project(capsys):
    assert dds.__version__ == PROJECT["version"]
    main(["--version"])
    assert capsys.readouterr().out == f"dds {PROJECT['version']}\n"


# Configs


def test_configs_are_found_by_name_and_those_of_the_working_folder_come_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config("seg_scenes.yaml") == CONFIGS / "seg_scenes.yaml"
    Path("seg_scenes.yaml").write_text("task: null\n")
    assert find_config("seg_scenes.yaml").resolve() == tmp_path / "seg_scenes.yaml"


def test_the_config_that_was_meant_is_named_before_the_others():
    with pytest.raises(InputError, match=r"'seg_scene.yaml'\. Did you mean seg_scenes.yaml\? Expected"):
        find_config("seg_scene.yaml")


def test_paths_in_a_config_are_those_of_the_working_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    weights, said = Path("weights/ddpm.pth"), []
    for _ in range(2):
        with pytest.raises(SystemExit):
            main(["evaluate", "--config=cls_cifar10.yaml"])
        said.append(capsys.readouterr().err)
        weights.parent.mkdir(exist_ok=True)
        weights.write_text("no weights")
    assert "weights file weights/ddpm.pth does not exist" in said[0]
    assert "weights/ddpm.pth" in said[1]
    assert "does not exist" not in said[1]


# The command dds


@pytest.mark.parametrize("name", [*COMMANDS, "evaluate", "train"])
def test_each_command_gets_what_follows_it(monkeypatch, name):
    called = []
    monkeypatch.setattr(program_dds, "evaluate", lambda given: called.append(("evaluate.py", *given)))
    monkeypatch.setitem(program_dds._ALL, "evaluate", program_dds.evaluate)
    monkeypatch.setitem(program_dds._ALL, "train", lambda given: called.append(("train.py", *given)))
    main([name, "--plan"])
    script = "train.py" if name == "train" else "evaluate.py"
    assert called == [(script, *([name] if name in COMMANDS else []), "--plan")]


def test_dds_evaluate_is_evaluate_py(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["evaluate", "--config", "seg_scenes.yaml", "--plan"])
    assert "pgd/same/t396" in capsys.readouterr().out


@pytest.mark.parametrize("given", [[], ["--help"], ["-h"]])
def test_help_names_every_command(capsys, given):
    main(given)
    said = capsys.readouterr().out
    for name in ("evaluate", "train", *COMMANDS):
        assert any(line.split()[:1] == [name] and len(line.split()) > 3 for line in said.splitlines()), name
    assert "dds evaluate --config seg_scenes.yaml" in said


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["evalaute", "--plan"], ["'evalaute'", "evaluate, train, certify", "Did you mean evaluate?"]),
        (["seg_scenes.yaml"], ["'seg_scenes.yaml'", "evaluate, train, certify"]),
        (["--config=seg_scenes.yaml"], ["--config=seg_scenes.yaml before a command", "evaluate, train"]),
    ],
)
def test_what_is_no_command_is_refused_with_those_there_are(capsys, given, words):
    with pytest.raises(SystemExit) as stopped:
        main(given)
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words), message


def test_errors_of_commands_are_as_they_were(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--config=nothing.yaml"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("error: there is no config 'nothing.yaml'")


def test_python_m_dds_explains_itself_by_what_was_typed(tmp_path):
    command = [sys.executable, "-m", "dds", "certify", "--help"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    text = " ".join(said.split())
    assert text.startswith("usage: python -m dds certify --config NAME")
    assert "python -m dds certify runs/seg_scenes/study" in text


@pytest.mark.parametrize(
    ("started", "command", "typed"),
    [
        ("evaluate.py", "evaluate", "python evaluate.py"),
        ("../evaluate.py", "report", "python ../evaluate.py report"),
        ("train.py", "train", "python train.py"),
        ("/env/bin/dds", "evaluate", "dds evaluate"),
        ("/env/bin/dds", "train", "dds train"),
        ("/env/dds/__main__.py", "compare", "python -m dds compare"),
        ("/env/bin/pytest", "report", "dds report"),
    ],
)
def test_programs_are_named_as_they_were_started(monkeypatch, started, command, typed):
    monkeypatch.setattr(sys, "argv", [started])
    assert program(command) == typed
