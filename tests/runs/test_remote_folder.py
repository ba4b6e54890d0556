"""Runs on object storage: whatever goes wrong, the same tables come out as in a folder."""

import gc
import itertools
import json
import multiprocessing
import os
import signal
import sys

import fsspec
import pytest
from runs.s3_server import at, broken_off, busy, every, half_a_list, once, s3, server, unanswered  # noqa: F401
from runs.test_attacked import measure as measure_attacked
from test_division import CONFIG, assert_same, make_job, measure, run_job, whole  # noqa: F401

from dds import cli
from dds.errors import InputError
from dds.runs import claims, pulling, run_folder
from dds.runs.attacked import write_manifest
from dds.runs.objects import Objects
from dds.runs.places import named_by_url, newest_run, open_folder
from dds.runs.remote_folder import RemoteFolder


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(claims, "SILENCE", 2.5)
    monkeypatch.setattr(pulling, "PAUSE", 0.1)


@pytest.fixture
def memory():
    fsspec.filesystem("memory").store.clear()
    return "memory://runs/scenes/run"


def names(url):
    return sorted(Objects(url).find())


def assert_is(url, whole, folder):  # noqa: F811
    """Compare all that a merged run left with a local one."""
    found = Objects(url).find()
    Objects(url).get({name: folder / name for name in found})
    (folder / "figures").mkdir(parents=True)
    assert_same(folder, whole)


# The start


def test_who_begins_is_told_by_who_creates_the_configuration(memory, monkeypatch):
    one, other = open_folder(memory), open_folder(memory)
    one.prepare(CONFIG)
    monkeypatch.setattr(Objects, "find", lambda self: {})  # the list is not up to date
    with pytest.raises(InputError, match=f"{memory} is not empty"), named_by_url():
        other.prepare(CONFIG)
    with pytest.raises(InputError, match=r"was started with another configuration(.|\n)*draws"):
        open_folder(memory).prepare(CONFIG.replace("protocol: {}", "protocol: {draws: 2}"), go_on=True)
    open_folder(memory).prepare(CONFIG, go_on=True)


def test_a_place_of_something_else_is_left_alone(memory):
    Objects(memory).create("photo.jpg", b"")
    with pytest.raises(InputError, match="not empty"):
        open_folder(memory).prepare(CONFIG, go_on=True)
    assert names(memory) == ["photo.jpg"]


def test_an_unused_run_is_discarded_by_the_last_job_at_work_in_it(memory):
    jobs = [open_folder(memory) for _ in range(2)]
    for job in jobs:
        job.prepare(CONFIG, go_on=True)
        job.write_plan({})
    for job, kept in zip(jobs, (True, False), strict=True):
        job.discard_if_unused()
        job.close()
        assert ("config.yaml" in names(memory)) is kept
    assert names(memory) == []


def test_a_job_that_begins_while_another_one_discards_finds_its_configuration(memory, monkeypatch):
    one, other, remove = open_folder(memory), open_folder(memory), Objects.remove
    one.prepare(CONFIG)

    def meanwhile(self, removed, *more):
        if list(removed) == ["config.yaml"]:
            other.prepare(CONFIG, go_on=True)
        remove(self, removed, *more)

    monkeypatch.setattr(Objects, "remove", meanwhile)
    one.discard_if_unused()
    assert "config.yaml" in names(memory)


def test_runs_of_one_second_take_the_next_name(memory):
    first, second = (open_folder(memory, numbered=True).claimed() for _ in range(2))
    assert [first.place, second.place] == [memory, f"{memory}_2"]
    second.prepare(CONFIG)
    assert newest_run("memory://runs/scenes") == second.place
    for folder in (first, second):
        folder.discard_if_unused()
    assert newest_run("memory://runs/scenes") is None
    assert names("memory://runs") == []


def test_the_working_copy_goes_with_the_run(memory, tmp_path):
    folder = open_folder(memory)
    folder.prepare(CONFIG)
    assert list(tmp_path.iterdir())
    del folder
    assert not list(tmp_path.iterdir())


# What is measured


def test_shares_and_conditions(memory, whole, tmp_path):  # noqa: F811
    assert not run_job(memory, share="1/2", conditions="pgd/*")
    assert not run_job(memory, share="2/2")
    assert run_job(memory)
    assert_is(memory, whole, tmp_path / "here")


def cut(n):
    """Return what stops a job at its nth change of what is there."""
    count = itertools.count(1)

    def stopping(do):
        def change(*given):
            if next(count) == n:
                raise KeyboardInterrupt
            return do(*given)

        return change

    return stopping


def test_killed_at_any_moment_of_merging(memory, whole, tmp_path):  # noqa: F811
    """From before the tables are sent to the last part's end; then another job goes on."""
    measure(make_job(), memory)
    store = fsspec.filesystem("memory").store
    before = dict(store)
    for n in itertools.count(1):
        store.clear()
        store.update(before)
        with pytest.MonkeyPatch.context() as patch:
            stopping = cut(n)
            for method in ("_put", "create", "remove", "rename"):
                patch.setattr(Objects, method, stopping(getattr(Objects, method)))
            try:
                make_job().merge(open_folder(memory))
                break
            except KeyboardInterrupt:
                pass
        assert run_job(memory)
        assert_is(memory, whole, tmp_path / str(n))
    assert n == 4


def test_a_part_that_comes_late_in_the_list_is_waited_for(memory, whole, tmp_path, monkeypatch):  # noqa: F811
    measure(make_job(), memory)
    find, lists = Objects.find, []

    def incomplete(self):
        lists.append(self)
        return {name: one for name, one in find(self).items() if len(lists) > 2 or "000000004" not in name}

    monkeypatch.setattr(Objects, "find", incomplete)
    monkeypatch.setattr(run_folder.time, "sleep", lambda seconds: None)
    assert make_job().merge(open_folder(memory))
    assert_is(memory, whole, tmp_path / "here")


def test_a_damaged_part_is_taken_away_and_measured_again(memory, whole, tmp_path, monkeypatch):  # noqa: F811
    measure(make_job(), memory)
    (name,) = (name for name in names(memory) if "000000004" in name and name.endswith("parquet"))
    path = f"/runs/scenes/run/{name}"
    store = fsspec.filesystem("memory")
    content = bytearray(store.cat_file(path))
    place = content.index(b"PAR1", 4)
    content[place - 40 : place] = bytes(40)
    store.pipe_file(path, bytes(content))
    monkeypatch.setattr(run_folder, "PATIENCE", 0)
    with pytest.raises(InputError):
        make_job().merge(open_folder(memory))
    assert run_job(memory)
    assert_is(memory, whole, tmp_path / "here")


def test_attacked_images_of_all_jobs(memory, tmp_path):
    for share in ("1/2", "2/2"):
        job = measure_attacked(memory, share=share)
    manifest = write_manifest(job, open_folder(memory))
    assert not manifest.exists()  # its copy is gone, too
    said = json.loads(Objects(memory).read(["attacked/manifest.json"])["attacked/manifest.json"])
    assert {len(folder["files"]) for folder in said["folders"].values()} == {3}
    assert sum(name.endswith(".png") for name in names(memory)) == 3 * len(said["folders"])


# A real server


def test_a_run_through_every_fault(s3, server, whole, tmp_path):  # noqa: F811
    server.faults = [
        once(half_a_list, "GET"),
        once(busy, path="config"),
        once(unanswered, path="config"),
        once(broken_off, path="parquet"),
        once(unanswered, path="npz"),
        every(7, busy),
        every(11, broken_off),
        every(13, unanswered),
    ]
    assert run_job(s3)
    assert len(server.requests) > 60
    server.faults = []
    assert_is(s3, whole, tmp_path / "here")


def test_a_storage_that_does_not_come_back(s3, server, whole, tmp_path, monkeypatch):  # noqa: F811
    """The second part is not sent; it is kept, and --resume measures what is not there."""
    monkeypatch.setattr("dds.storage.PATIENCE", 0.01)
    server.faults = [at("/000000002-", busy)]
    with pytest.raises(InputError, match="did not answer .* --resume goes on with it; what was not lies in"):
        run_job(s3)
    assert [path.name[:9] for path in tmp_path.rglob("parts/*.parquet")] == ["000000000", "000000002"]
    server.faults = []
    assert run_job(s3)
    assert_is(s3, whole, tmp_path / "here")


def as_job(url, division, die_at):
    """Do one job in a process of its own, which is killed before it sends the nth part."""
    send, sent = RemoteFolder.send, itertools.count(1)

    def die(self, *paths):
        if paths and paths[0].name.partition(".")[2].startswith("parquet") and next(sent) == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        send(self, *paths)

    RemoteFolder.send = die
    sys.exit(10 if run_job(url, **division) else 0)


def start(url, die_at=None, **division):
    process = multiprocessing.get_context("fork").Process(target=as_job, args=(url, division, die_at))
    process.start()
    return process


def ends(*processes):
    for process in processes:
        process.join(60)
    return [process.exitcode for process in processes]


def test_two_shares_that_are_killed_and_resumed(s3, whole, tmp_path):  # noqa: F811
    assert ends(start(s3, 2, share="1/2"), start(s3, 1, share="2/2")) == [-signal.SIGKILL] * 2
    assert [name[6:15] for name in names(s3) if name.endswith("parquet")] == ["000000000"]
    assert not run_job(s3, share="2/2")
    assert run_job(s3, share="1/2")
    assert_is(s3, whole, tmp_path / "here")


def test_jobs_that_claim_images_of_which_one_dies(s3, whole, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(claims, "BEAT", 0.5)
    assert ends(start(s3, 2, share="auto")) == [-signal.SIGKILL]
    other = start(s3, share="auto")
    merged = run_job(s3, share="auto")
    assert ends(other) == [0 if merged else 10]
    assert_is(s3, whole, tmp_path / "here")


def test_a_claim_that_comes_when_all_is_merged_is_taken_back(s3):  # noqa: F811
    folder = open_folder(s3)
    folder.prepare(CONFIG)
    with claims.Claims(folder.board()) as late:
        assert late.free([4, 7]) == {4, 7}
        assert late.take(4)
        folder.clear()
        assert not late.take(7)
    assert not any("claim" in name for name in names(s3))


def test_one_job_at_a_time_holds_the_run_of_a_dashboard(s3):  # noqa: F811
    one, other = (open_folder(s3) for _ in range(2))
    path = [folder.wandb / "run.json" for folder in (one, other)]
    locks = [one.lock(path[0]), other.lock(path[1])]
    locks[0].acquire(timeout=0)
    with pytest.raises(claims.Timeout):
        locks[1].acquire(timeout=0)
    locks[0].release()
    locks[1].acquire(timeout=0)
    locks[1].release()


def test_claims_where_nothing_is_exclusive_are_refused(s3, server):  # noqa: F811
    server.faults = [lambda environ, serve: environ.pop("HTTP_IF_NONE_MATCH", None) and None]
    open_folder(s3).check()
    with pytest.raises(InputError, match=f"--share=auto: jobs cannot claim images on {s3}.*--share=1/4"):
        open_folder(s3).check(claims=True)


# The command line

SMALL = ["--config", "cls_scenes.yaml", "--data.size=16", "--data.test_images=2", "--logger=false"]
SMALL += ["--protocol.noise_levels=[10]", "--protocol.attacks.pgd.init_args.steps=1", "--protocol.draws=1"]
SMALL += ["--trainer.accelerator=cpu", "--runs=memory://runs"]


def test_the_commands(memory, tmp_path, capsys, monkeypatch):
    cli.evaluate([*SMALL, "--name=one", "--show=path"])
    assert capsys.readouterr().out.strip() == "memory://runs/cls_scenes/one"
    there = names("memory://runs/cls_scenes/one")
    assert {"config.yaml", "report.html", "summary.json", "figures/utility.png"} <= {*there}
    assert not any("partial" in name for name in there)
    store = fsspec.filesystem("memory").store
    store.update({path.replace("/one/", "/two/"): content for path, content in store.items()})
    cli.evaluate(["compare", "memory://runs/*/*", f"--out={tmp_path}/all.html"])
    assert "cls_scenes/two" in (tmp_path / "all.html").read_text()
    monkeypatch.setattr(cli, "write_report", lambda folder, run: folder.report)
    cli.evaluate(["report", "memory://runs/*/two"])
    assert "Report: memory://runs/cls_scenes/two/report.html" in capsys.readouterr().out
    gc.collect()
    assert not list(tmp_path.glob("dds-run.*"))


def test_what_wandb_sends_later_lies_with_the_run(memory):
    folder = open_folder(memory)
    folder.prepare(CONFIG)
    for name in ("offline-run-1/files/run.wandb", "run-2/run.wandb", "run.json.lock"):
        (folder.wandb / name).parent.mkdir(parents=True, exist_ok=True)
        (folder.wandb / name).write_text("{}")
    folder.publish()
    assert not any(name.startswith("wandb") for name in names(memory))
    folder.close()
    assert [name for name in names(memory) if "wandb" in name] == ["wandb/offline-run-1/files/run.wandb"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([*SMALL, "--runs=s3://not-there/runs", "--name=a"], "there is no such bucket"),
        ([*SMALL, "--runs=s3:/bucket/runs", "--name=a"], "with two slashes"),
        ([*SMALL, "--resume"], "there is no run in memory://runs/cls_scenes to go on with"),
        (["report", "memory://runs/*/*"], "no run fits"),
        (["report", "memory://runs/scenes/none"], "memory://runs/scenes/none holds no summary.json"),
        (["certify", "memory://runs/scenes/none"], "memory://runs/scenes/none"),
    ],
)
def test_mistakes(memory, server, capsys, arguments, said):  # noqa: F811
    with pytest.raises(SystemExit):
        cli.evaluate(arguments)
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
