"""One run over several jobs and processes: whatever the division, the same tables come out."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from callbacks.test_attack_and_purify import Arrays, trainer
from conftest import TinyClassifier, TinyNoiseNetwork, assert_same_samples, run_processes

from dds import cli
from dds.attacks import PGD
from dds.callbacks import AttackAndPurify
from dds.errors import InputError
from dds.purifiers import DiffusionDenoiser
from dds.runs import ResultsWriter
from dds.runs.division import own_cells
from dds.runs.grid import Grid
from dds.runs.job import Job
from dds.runs.places import open_folder
from dds.tasks import Classification

pytestmark = pytest.mark.usefixtures("without_figures")

CONFIG = "# data: images 7\ntask: {}\ndata: {init_args: {}}\nprotocol: {}\n"
IMAGES = 7


class OfManySizes(Arrays):
    """Images of three sizes, two of which come more than once."""

    def load(self, split):
        kept = super().load(split)
        return [{**one, "image": one["image"][:, : (8, 6, 8, 7)[n % 4]]} for n, one in enumerate(kept)]


def make_job(share=None, conditions=None, images=IMAGES, batch_size=2, data=Arrays):
    protocol = AttackAndPurify(
        DiffusionDenoiser(TinyNoiseNetwork()),
        [10, 145],
        attacks={"pgd": PGD(steps=2)},
        attacker_sees=["none", "same", "fixed_noise"],
        draws=2,
    )
    task = Classification(TinyClassifier(), features="body.2")
    return Job(task, data(batch_size, images), protocol, share, conditions)


def measure(job, folder, go_on=True, **options):
    """Write the parts of a job; return whether this is the first of its processes."""
    writer = ResultsWriter(open_folder(folder), CONFIG, go_on)
    processes = trainer(job.protocol, writer, **options)
    job.measure(processes, writer)
    return processes.is_global_zero


def run_job(folder, options=None, **division):
    """Do one job; return whether it was the one to merge."""
    job = make_job(**division)
    return measure(job, folder, **(options or {})) and job.merge(open_folder(folder))


def tables(folder):
    return [pd.read_parquet(folder / f"{name}.parquet") for name in ("samples", "votes")]


def assert_same(folder, other):
    for one, two in zip(tables(folder), tables(other), strict=True):
        pd.testing.assert_frame_equal(one, two)
    files = [sorted(path.relative_to(f) for path in f.rglob("*")) for f in (folder, other)]
    assert files[0] == files[1]
    with np.load(folder / "examples.npz") as one, np.load(other / "examples.npz") as two:
        assert set(one) == set(two)
        assert all(np.array_equal(one[name][:1], two[name][:1]) for name in one)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert run_job(folder)
    assert len(tables(folder)[0]) == IMAGES * (1 + 2 * 2 + 1 + 3 * 2 * 2)  # clean and pgd; t0, t10 and t145
    return folder


DIVISIONS = {
    "images": [{"share": f"{number}/3"} for number in (2, 3, 1)],
    "conditions": [{"conditions": keys} for keys in ("pgd/*", "clean/-/t10, clean/-/t145", "*/t0")],
    "both": [{"share": "1/2", "conditions": "pgd/*"}, {"share": "2/2"}, {"conditions": "clean/*"}],
    "as they go": [{"share": "1/3"}, {"share": "auto", "conditions": "pgd/*"}, {"share": "auto"}],
    "the rest": [{"conditions": "clean/*"}, {"share": "3/4", "conditions": "*/same/*"}, {}],
}


@pytest.mark.parametrize("division", DIVISIONS)
def test_divided_by(whole, tmp_path, division):
    *first, last = DIVISIONS[division]
    assert not any([run_job(tmp_path / "run", **options) for options in first])
    assert run_job(tmp_path / "run", **last)
    assert_same(tmp_path / "run", whole)


def test_jobs_that_are_not_the_last_say_what_is_left(tmp_path, capsys):
    run_job(tmp_path / "run", conditions="clean/*,pgd/*/t10", images=2)
    said = " ".join(capsys.readouterr().out.split())
    assert "pgd/none/t145 of images 0, 1; pgd/same/t145 of images 0, 1" in said
    assert not (tmp_path / "run" / "samples.parquet").exists()


def test_features_are_compared_to_the_clean_image_though_another_job_measures_it(whole, tmp_path):
    """The similarity of an image to itself would be 1 under attack, too."""
    run_job(tmp_path / "run", conditions="pgd/none/t0")
    part = pd.concat(pd.read_parquet(path) for path in (tmp_path / "run" / "parts").glob("*.parquet"))
    expected = tables(whole)[0].query("condition == 'pgd/none/t0'").reset_index(drop=True)
    assert set(part.condition) == {"pgd/none/t0"}
    pd.testing.assert_frame_equal(
        part.sort_values("index").reset_index(drop=True)[expected.columns], expected, check_like=True
    )


def test_a_share_is_every_nth_image_and_a_pattern_must_fit():
    grid = Grid(make_job().protocol.plan.conditions, [3, 5, 8, 9, 11])
    assert [np.flatnonzero(own_cells(grid, share, None)[0]).tolist() for share in ("1/2", "2/2", None)] == [
        [0, 2, 4],
        [1, 3],
        [0, 1, 2, 3, 4],
    ]
    rows = own_cells(grid, "2/2", "clean/*,pgd/same/t10")
    assert [key for key, marked in zip(grid.keys, rows, strict=True) if marked.any()] == [
        "clean/-/t0",
        "clean/-/t10",
        "clean/-/t145",
        "pgd/same/t10",
    ]
    with pytest.raises(InputError, match="'fgsm/\\*'.*pgd/same/t145"):
        own_cells(grid, None, "pgd/*,fgsm/*")
    for share in ("0/2", "3/2", "2", "a/b", "-1/2", "1/0", "auto/3", "automatic"):
        with pytest.raises(InputError, match="expected auto, or .* from 1/5 to 5/5"):
            own_cells(grid, share, None)


# Several processes


def as_process(rank, processes, folder, differs, options):
    """Do a part of one job, and note its images."""
    kept = ResultsWriter.on_test_batch_end

    def note(self, trainer, pl_module, outputs, batch, *more):
        with folder.with_name(f"{rank}.images").open("a") as file:
            file.write("".join(f"{index}\n" for index in batch["index"][: batch["real"]].tolist()))
        kept(self, trainer, pl_module, outputs, batch, *more)

    ResultsWriter.on_test_batch_end = note
    if rank == differs:
        globals()["CONFIG"] = CONFIG.replace("7", "8")
    run_job(folder, {"devices": processes, "strategy": "ddp"}, **options)


def images_of(folder, rank):
    return [int(line) for line in folder.with_name(f"{rank}.images").read_text().split()]


def divide(processes, folder, differs=None, **options):
    return run_processes(processes, as_process, processes, folder, differs, options)


@pytest.mark.parametrize("processes", [2, 3])
def test_uneven_processes_measure_the_same_as_one(whole, tmp_path, processes):
    assert divide(processes, tmp_path / "run") == [0] * processes
    for rank in range(processes):
        assert images_of(tmp_path / "run", rank) == list(range(IMAGES))[rank::processes]
    assert_same(tmp_path / "run", whole)


def test_images_of_many_sizes_are_the_same_alone_and_in_any_company(tmp_path):
    assert run_job(tmp_path / "whole", data=OfManySizes)
    assert divide(2, tmp_path / "shared", share="1/2", data=OfManySizes) == [0, 0]
    assert [images_of(tmp_path / "shared", rank) for rank in (0, 1)] == [[0, 4], [2, 6]]
    assert run_job(tmp_path / "shared", share="2/2", data=OfManySizes)
    assert_same(tmp_path / "shared", tmp_path / "whole")
    assert run_job(tmp_path / "alone", data=OfManySizes, batch_size=1)
    assert_same_samples(tmp_path / "alone", tmp_path / "whole", atol=1e-4)


def test_processes_divide_the_share_of_their_job(whole, tmp_path):
    assert divide(2, tmp_path / "run", share="2/2") == [0, 0]
    assert [images_of(tmp_path / "run", rank) for rank in (0, 1)] == [[1, 5], [3]]
    assert run_job(tmp_path / "run")
    assert_same(tmp_path / "run", whole)


def test_more_processes_than_images_are_left(whole, tmp_path):
    """Two of the three measure an image that is there already, to take part; nothing is doubled."""
    for share in ("1/2", "2/4"):
        run_job(tmp_path / "run", share=share)
    assert divide(3, tmp_path / "run") == [0, 0, 0]
    assert [images_of(tmp_path / "run", rank) for rank in range(3)] == [[0], [1], [3]]
    assert_same(tmp_path / "run", whole)


def test_fewer_images_than_processes_are_refused(tmp_path):
    with pytest.raises(InputError, match="3 processes share 2 test images"):
        Grid(make_job().protocol.plan.conditions, [4, 7]).others([4], 3)


def test_processes_that_differ_are_refused(tmp_path, monkeypatch):
    """One of them has other weights: its rows would be those of another network."""
    statuses = divide(2, tmp_path / "run", differs=1)
    assert statuses[1] == 1
    assert not list(tmp_path.rglob("*.parquet"))


SMALL = ["--config", "cls_scenes.yaml", "--data.size=16", "--data.test_images=7", "--data.batch_size=1"]
SMALL += ["--protocol.noise_levels=[10]", "--protocol.attacks.pgd.init_args.steps=1", "--protocol.draws=2"]
SMALL += ["--trainer.accelerator=cpu", "--logger=false"]
EVALUATE = str(Path(__file__).parents[1] / "evaluate.py")


def test_both_launchers(tmp_path):
    """Stopped on the two processes of Lightning's, finished on the three of torchrun's: as by one process."""
    options = [*SMALL, f"--runs={tmp_path}"]
    cli.evaluate([*options, "--name=one"])
    options += ["--name=three", "--trainer.strategy=ddp"]
    folder = tmp_path / "cls_scenes" / "three"
    lightning = subprocess.Popen(
        [sys.executable, EVALUATE, *options, "--trainer.devices=2"], stderr=subprocess.PIPE, text=True
    )
    while lightning.poll() is None and not any(folder.glob("parts/*.parquet")):
        time.sleep(0.01)
    lightning.terminate()
    assert "by the same command and --resume" in lightning.communicate(timeout=100)[1]
    assert lightning.returncode == 143
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=3"]
    command = [*torchrun, EVALUATE, *options, "--trainer.devices=3", "--resume"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    pd.testing.assert_frame_equal(tables(folder)[0], tables(tmp_path / "cls_scenes" / "one")[0])


def test_the_plan_of_a_part(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    laid_over = ["--config", "trainer/ddp.yaml", "--conditions", "*/same/*,clean/*"]
    cli.evaluate([*SMALL, *laid_over, f"--runs={tmp_path}", "--plan"])
    plan = capsys.readouterr().out
    assert all(key in plan for key in ("clean/-/t0", "clean/-/t10", "pgd/same/t10"))
    assert "pgd/none" not in plan


def test_parts_need_the_name_of_their_run(tmp_path, capsys):
    with pytest.raises(SystemExit):
        cli.evaluate([*SMALL, f"--runs={tmp_path}", "--share", "1/2"])
    assert "--name" in capsys.readouterr().err
