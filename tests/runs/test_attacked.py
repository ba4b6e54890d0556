import json

import pytest
from callbacks.test_attack_and_purify import trainer
from test_division import CONFIG, make_job

from dds.data.files import read_image
from dds.errors import InputError
from dds.runs import ResultsWriter, RunFolder
from dds.runs.attacked import AttackedFiles, write_manifest
from dds.runs.places import open_folder

FOLDERS = ["clean", "pgd/fixed_noise/t10/0", "pgd/fixed_noise/t10/1", "pgd/none", "pgd/t10"]
CONDITIONS = "clean/-/t0,pgd/*/t0,pgd/*/t10"
IMAGES = 3


def measure(path, **division):
    job = make_job(images=IMAGES, **division)
    writer = ResultsWriter(open_folder(path), CONFIG, go_on=True)
    job.measure(trainer(job.protocol, AttackedFiles(job.protocol, writer), writer), writer)
    return job


def contents(path):
    return {
        file.relative_to(path).as_posix(): file.read_bytes() for file in (path / "attacked").rglob("*.png")
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole")
    measure(path, conditions=CONDITIONS)
    return path


def test_each_image_is_written_under_what_its_attacker_saw(whole):
    names = [f"{place:06d}.png" for place in range(IMAGES)]
    assert sorted(contents(whole)) == [f"attacked/{folder}/{name}" for folder in FOLDERS for name in names]
    job = make_job(images=IMAGES)
    for place, sample in enumerate(job.data.load("test")):
        clean, attacked = (
            read_image(whole / "attacked" / folder / f"{place:06d}.png") / 255
            for folder in ("clean", "pgd/none")
        )
        assert (clean - sample["image"]).abs().max() <= 0.5 / 255 + 1e-6
        assert 7 / 255 < (attacked - sample["image"]).abs().max() <= 8.5 / 255 + 1e-6


def test_shares_and_what_was_stopped_leave_the_same_files(whole, tmp_path):
    measure(tmp_path, share="1/2", conditions=CONDITIONS)
    old = {path: path.stat().st_mtime_ns for path in (tmp_path / "attacked").rglob("*.png")}
    measure(tmp_path, conditions="clean/-/t0,pgd/*/t0")
    measure(tmp_path, conditions=CONDITIONS)
    assert contents(tmp_path) == contents(whole)
    assert all(path.stat().st_mtime_ns == time for path, time in old.items())  # each was written once


def test_the_manifest_names_budget_conditions_and_hashes(whole, tmp_path):
    job = measure(tmp_path)
    manifest = json.loads(write_manifest(job, RunFolder(tmp_path)).read_text())
    assert {"images", "seed", "versions", "weights"} < manifest.keys()
    entry = manifest["folders"]["pgd/t145"]
    assert (entry["norm"], entry["eps"], entry["conditions"]) == ("linf", 8 / 255, ["pgd/same/t145"])
    assert list(entry["files"]) == ["000000.png", "000001.png", "000002.png"]
    files = {f"{folder}/{name}" for folder, one in manifest["folders"].items() for name in one["files"]}
    assert {f"attacked/{file}" for file in files} == contents(tmp_path).keys()
    (tmp_path / "attacked" / "pgd" / "none" / "000001.png").unlink()
    with pytest.raises(InputError, match=r"1 of 3 attacked images are gone, e.g. .*none/000001.png"):
        write_manifest(job, RunFolder(tmp_path))


def test_a_run_that_measured_nothing_leaves_no_images(tmp_path, monkeypatch):
    monkeypatch.setattr("dds.tasks.classification.Classification.statistics", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        measure(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_with_files_is_not_gone_on_with_without(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_text(folder.config, CONFIG + "save_attacked: true\n")
    with pytest.raises(InputError, match="-save_attacked: true"):
        folder.check_same_work(CONFIG + "save_attacked: false\n")
    folder.write_text(folder.config, CONFIG)  # of a version that had no such thing
    folder.check_same_work(CONFIG + "save_attacked: false\n")
