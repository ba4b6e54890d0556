"""What `evaluate.py submit` takes, and what it refuses."""

import sys
from functools import cache

import pytest

from dds import cli
from dds.cluster import read_request
from dds.errors import InputError

PARSER = cache(cli.evaluation_parser)  # it keeps nothing of what it reads
SMALL = ["--config=cls_scenes.yaml", "--data.size=16", "--data.test_images=4", "--logger=false"]


def test_options_are_told_from_those_of_the_evaluation(slurm):
    given = [
        "certify",
        "--config",
        "x.yaml",
        "--jobs",
        "3",
        "--slurm.time=60",
        "--slurm.setup+=a",
        "--name=b",
    ]
    request, command = read_request(given)
    assert command == ["certify", "--config", "x.yaml", "--name=b"]
    assert (request.jobs, request.cluster, request.requeues) == (3, "slurm", 100)
    assert (request.slurm["time"], request.slurm["setup"], request.slurm["job_name"]) == (60, ["a"], "dds")
    assert "partition" not in request.slurm


def test_a_file_holds_a_clusters_options(slurm, tmp_path):
    (tmp_path / "here.yaml").write_text(
        "partition: gpu\ngpus_per_node: 1\nadditional_parameters: {reservation: r}"
    )
    request, _ = read_request(["--jobs=1", f"--slurm={tmp_path / 'here.yaml'}", "--slurm.partition=big"])
    assert (request.slurm["partition"], request.slurm["gpus_per_node"]) == ("big", 1)
    assert request.slurm["additional_parameters"] == {"reservation": "r"}


def test_without_slurm_jobs_are_this_machines(monkeypatch):
    monkeypatch.setattr("dds.cluster.request.shutil.which", lambda name: None)
    assert read_request(["--jobs=2"])[0].cluster == "local"
    assert read_request(["--jobs=2", "--cluster=local", "--slurm.partition=gpu"])[0].cluster == "local"
    for option in ("--slurm.partition=gpu", "--cluster=slurm"):
        with pytest.raises(InputError, match=f"{option} needs SLURM's sbatch and srun, which are not here"):
            read_request(["--jobs=2", option])


def test_submitit_is_named_where_it_lacks(monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit.slurm.slurm", None)
    with pytest.raises(InputError, match=r"pip install 'dds\[cluster\]'"):
        read_request(["--jobs=2"])


MISTAKES = {
    "no number": ([], "jobs must be set"),
    "no job": (["--jobs=0"], "--jobs=0; expected how many jobs are to share the run, 1 or more."),
    "no such option": (["--jobs=2", "--slurm.partitn=gpu"], "Did you mean partition?"),
    "no minutes": (["--jobs=2", "--slurm.time=12h"], "slurm.time=12h; expected a whole number."),
    "no such cluster": (["--jobs=2", "--cluster=slrm"], "Did you mean slurm?"),
    "a share": (["--jobs=2", "--share=1/2"], "--share with submit. Leave it out"),
    "a plan": (["--jobs=2", "--plan"], "--plan with submit. Leave submit out"),
    "json": (["--jobs=2", "--show=json"], "--show=json with submit. Expected table or path"),
    "two devices": (["--jobs=2", "--trainer.devices=2"], "trainer.devices=2 with submit; expected 1"),
    "more jobs than images": (["--jobs=5"], "--jobs=5 for 4 images; expected one for each at most."),
    "of the evaluation": (["--jobs=2", "--data.limt=3"], "Did you mean limit?"),
    "no condition": (["--jobs=2", "--name=a", "--conditions=x/*"], "no condition is called 'x/*'"),
}


def said_of(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        cli.evaluate(["submit", *arguments])
    assert end.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_before_anything_is_submitted(mistake, slurm, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli, "evaluation_parser", PARSER)
    options, expected = MISTAKES[mistake]
    assert expected in said_of([*SMALL, f"--runs={tmp_path / 'runs'}", *options], capsys)
    assert not (tmp_path / "runs").exists()


def test_a_run_that_is_finished_or_another_is_refused(slurm, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli, "evaluation_parser", PARSER)
    options = [*SMALL, f"--runs={tmp_path}", "--jobs=2", "--name=a"]
    run = tmp_path / "cls_scenes" / "a"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("task: {}\ndata: {init_args: {}}\nprotocol: {}\n")
    assert f"{run} was started with another configuration" in said_of(options, capsys)
    (run / "summary.json").touch()
    assert f"{run} is finished. Give another --name." in said_of(options, capsys)


def test_only_what_has_jobs_is_submitted(slurm, capsys):
    assert "submit report: only evaluations and certify" in said_of(["report", "runs/x", "--jobs=2"], capsys)
