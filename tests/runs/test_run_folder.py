import random
import shutil
import threading

import numpy as np
import pyarrow.parquet as pq
import pytest
from test_division import IMAGES, assert_same, make_job, measure, run_job

from dds.errors import InputError
from dds.runs import RunFolder, merging, run_folder
from dds.runs.samples import read_rows
from dds.whole_file import whole_file

CONFIG = """\
# versions: torch 2.6
# weights: task 12ab
# data: images 64
# data: digest ab12
task: {class_path: Classification}
data: {class_path: Scenes, init_args: {limit: 64, batch_size: 32}}
protocol: {draws: 3}
trainer: {devices: 1}
"""


# The start


def test_a_run_is_not_overwritten_but_may_be_gone_on_with(tmp_path):
    RunFolder(tmp_path / "run").prepare(CONFIG)
    with pytest.raises(InputError, match="not empty"):
        RunFolder(tmp_path / "run").prepare(CONFIG)
    RunFolder(tmp_path / "run").prepare(CONFIG, go_on=True)
    assert (tmp_path / "run" / "config.yaml").read_text() == CONFIG


@pytest.mark.parametrize("foreign", [b"a: [", b"- 1", b"model: resnet", b"data: {}", b"\xff\xfe\x00"])
def test_the_configuration_of_another_program_is_refused(tmp_path, foreign):
    (tmp_path / "config.yaml").write_bytes(foreign)
    (tmp_path / "parts").mkdir()
    with pytest.raises(InputError, match=r"config\.yaml is not the configuration of a run"):
        RunFolder(tmp_path).prepare(CONFIG, go_on=True)


@pytest.mark.parametrize(
    "same", ["{devices: 4}", "{precision: null}", "{precision: 32}", "{precision: 32-true}"]
)
def test_a_run_goes_on_in_the_precision_that_it_was_started_in(tmp_path, same):
    started = CONFIG.replace("{devices: 1}", same)
    RunFolder(tmp_path / "run").prepare(started)
    RunFolder(tmp_path / "run").prepare(CONFIG, go_on=True)
    for other in ("64-true", "bf16-mixed", '"16"'):
        with pytest.raises(
            InputError, match=rf"-precision: 32-true\n\+precision: {other[:2].strip(chr(34))}"
        ):
            RunFolder(tmp_path / "run").prepare(
                CONFIG.replace("devices: 1", f"precision: {other}"), go_on=True
            )


def test_a_run_killed_before_its_first_file_is_gone_on_with(tmp_path):
    (tmp_path / "run" / "parts").mkdir(parents=True)
    (tmp_path / "run" / "config.yaml.12.partial").write_text("ta")
    RunFolder(tmp_path / "run").prepare(CONFIG, go_on=True)
    assert (tmp_path / "run" / "config.yaml").read_text() == CONFIG


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "photo.jpg").write_text("")
    with pytest.raises(InputError, match="not empty"):
        RunFolder(tmp_path).prepare(CONFIG, go_on=True)
    assert (tmp_path / "parts" / "photo.jpg").exists()


def test_an_unused_folder_is_discarded_by_who_made_it(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.prepare(CONFIG)
    RunFolder(tmp_path / "run").discard_if_unused()
    assert folder.path.is_dir()
    folder.discard_if_unused()
    assert not folder.path.exists()


def test_an_unused_folder_is_kept_for_the_jobs_that_are_at_work_in_it(tmp_path):
    jobs = [RunFolder(tmp_path / "runs" / "scenes" / "run") for _ in range(2)]
    for job in jobs:
        job.prepare(CONFIG, go_on=True)
    for job, kept in zip(jobs, (True, False), strict=True):
        job.discard_if_unused()
        assert job.config.is_file() is kept
    assert not (tmp_path / "runs" / "scenes" / "run").exists()


def test_nothing_is_left_of_an_unused_folder_but_what_was_there(tmp_path):
    """Parents that were made for it go, too; an empty folder that the user had made stays, and is empty."""
    (tmp_path / "mine").mkdir()
    for path in (tmp_path / "runs" / "scenes" / "run", tmp_path / "mine"):
        for go_on in (False, True):
            folder = RunFolder(path)
            folder.prepare(CONFIG, go_on)
            folder.write_plan({})
            folder.discard_if_unused()
    assert list(tmp_path.rglob("*")) == [tmp_path / "mine"]


def test_what_was_measured_is_never_discarded(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.prepare(CONFIG)
    (folder.parts / "000000000-12ab34cd.parquet").write_bytes(b"rows")
    folder.discard_if_unused()
    assert folder.config.is_file()
    shutil.rmtree(folder.parts)
    folder.summary.write_text("{}")
    again = RunFolder(folder.path)
    again.prepare(CONFIG, go_on=True)
    again.discard_if_unused()
    assert folder.config.is_file()


def test_runs_of_one_second_take_the_next_name(tmp_path):
    first, second, third = (RunFolder(tmp_path / "a" / "now", numbered=True).claimed() for _ in range(3))
    assert [folder.path.name for folder in (first, second, third)] == ["now", "now_2", "now_3"]
    for folder in (third, second, first):
        folder.prepare(CONFIG)
        folder.discard_if_unused()
    assert not list(tmp_path.iterdir())


def test_unwritable_place(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--runs"):
        RunFolder(tmp_path / "file" / "run").prepare(CONFIG)


@pytest.mark.parametrize(
    ("old", "new", "refused"),
    [
        ("draws: 3", "draws: 4", True),
        ("limit: 64", "limit: 65", True),
        ("12ab", "34cd", True),
        ("images 64", "images 65", True),
        ("digest ab12", "digest cd34", True),
        ("batch_size: 32", "batch_size: 16", False),
        ("devices: 1", "devices: 2", False),
        ("torch 2.6", "torch 2.7", False),
    ],
)
def test_a_run_is_gone_on_with_only_as_it_was_started(tmp_path, old, new, refused):
    RunFolder(tmp_path / "run").prepare(CONFIG)
    if refused:
        with pytest.raises(InputError) as error:
            RunFolder(tmp_path / "run").prepare(CONFIG.replace(old, new), go_on=True)
        assert any(line.startswith("-") and old in line for line in str(error.value).splitlines())
        assert any(line.startswith("+") and new in line for line in str(error.value).splitlines())
    else:
        RunFolder(tmp_path / "run").prepare(CONFIG.replace(old, new), go_on=True)


def test_other_files_are_said_in_words(tmp_path):
    RunFolder(tmp_path / "run").prepare(CONFIG)
    with pytest.raises(InputError, match="other images: files of the data set were added, removed, renamed"):
        RunFolder(tmp_path / "run").prepare(CONFIG.replace("ab12", "cd34"), go_on=True)


def test_a_run_of_a_version_that_knew_no_digest_goes_on(tmp_path):
    RunFolder(tmp_path / "run").prepare(CONFIG.replace("# data: digest ab12\n", ""))
    RunFolder(tmp_path / "run").prepare(CONFIG, go_on=True)
    with pytest.raises(InputError, match="other images"):
        RunFolder(tmp_path / "run").prepare(CONFIG.replace("images 64", "images 65"), go_on=True)


def test_a_folder_that_is_not_shared_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder, "PATIENCE", 0)
    with pytest.raises(InputError, match="all machines share"):
        RunFolder(tmp_path).wait_until_seen()


# Damage


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run, by two images a batch."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    run_job(folder)
    return folder


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The same, before its parts are merged."""
    folder = tmp_path_factory.mktemp("measured") / "run"
    measure(make_job(), folder)
    return folder


@pytest.fixture
def run(measured, tmp_path):
    return RunFolder(shutil.copytree(measured, tmp_path / "run"))


@pytest.fixture
def merged(whole, tmp_path):
    return RunFolder(shutil.copytree(whole, tmp_path / "run"))


def left(folder):
    """Return the images of each piece that is left, and how many conditions it has."""
    job = make_job()
    pieces = folder.pieces(job.grid, np.ones((len(job.grid.keys), IMAGES), bool))
    return [(piece.images, len(piece.conditions), piece.rows) for piece in pieces]


CONDITIONS = 10
ALL = tuple(range(IMAGES))
ROWS = 18 + 6  # of an image: single draws, and decisions over both


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])


def test_a_part_cut_at_any_length_is_measured_again(run, whole):
    part = next(run.parts.glob("000000002-*.parquet"))
    size = part.stat().st_size
    whole_part = part.read_bytes()
    for length in [0, 1, 4, 8, size - 1, size - 8, *random.Random(0).sample(range(size), 20)]:
        part.write_bytes(whole_part)
        assert left(run) == []
        cut(part, length)
        assert left(run) == [((2, 3), CONDITIONS, True)]
    assert run_job(run.path)
    assert_same(run.path, whole)


def test_a_part_with_a_broken_byte_is_measured_again(run):
    part = next(run.parts.glob("000000004-*.parquet"))
    content, rows = part.read_bytes(), read_rows([part])
    for place in random.Random(0).sample(range(len(content)), 60):
        part.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        found = read_rows([part])
        assert len(found) == 0 or found.equals(rows), place  # a few bytes say nothing


def test_half_a_part_that_was_never_named_is_not_read(run, whole):
    shutil.copy(next(run.parts.glob("*.parquet")), run.parts / "000000000-12.parquet.34.partial")
    (run.path / "samples.parquet.56.partial").write_bytes(b"PAR1")
    assert left(run) == []
    assert run_job(run.path)
    assert_same(run.path, whole)


@pytest.mark.parametrize("table", ["samples", "votes"])
@pytest.mark.parametrize("size", [0, 600])
def test_a_broken_table_counts_for_nothing(merged, whole, table, size):
    cut(merged.path / f"{table}.parquet", size)
    assert left(merged) == [(ALL, CONDITIONS, True)]
    assert run_job(merged.path)
    assert_same(merged.path, whole)


def test_a_broken_table_is_made_again_from_parts_that_are_there_still(run, whole):
    shutil.copy(whole / "votes.parquet", run.votes)
    run.samples.write_bytes((whole / "samples.parquet").read_bytes()[:2000])
    assert left(run) == []
    assert run_job(run.path)
    assert_same(run.path, whole)


def test_parts_that_are_merged_but_not_removed_yet_do_no_harm(run, whole):
    for name in ("votes.parquet", "samples.parquet", "examples.npz"):
        shutil.copy(whole / name, run.path)
    next(run.parts.glob("*.parquet")).unlink()
    assert left(run) == []
    assert run_job(run.path)
    assert_same(run.path, whole)


@pytest.mark.parametrize("size", [0, 100, 3000])
def test_broken_examples_are_made_again_by_the_first_image_alone(merged, whole, size):
    cut(merged.examples, size)
    assert left(merged) == [((0,), CONDITIONS, False)]
    assert run_job(merged.path)
    assert_same(merged.path, whole)


def test_broken_examples_beside_parts_are_made_again(run, whole):
    cut(next(run.parts.glob("*.npz")), 500)
    assert left(run) == [((0,), CONDITIONS, False)]
    assert not run_job(run.path, share="2/2")  # not the share of that image
    assert run_job(run.path)
    assert_same(run.path, whole)


def test_a_file_that_cannot_be_written_leaves_what_was_there(tmp_path):
    (tmp_path / "summary.json").write_text("old")
    with pytest.raises(TypeError), whole_file(tmp_path / "summary.json") as file:
        file.writelines([b"half of the n", "ew"])
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("summary.json", "old")]


# What is merged


def merge(folder):
    return make_job().merge(folder)


def test_missing_images_are_named(run, monkeypatch):
    monkeypatch.setattr(run_folder, "PATIENCE", 0)
    next(run.parts.glob("000000004-*.parquet")).unlink()
    with pytest.raises(InputError, match=r"lacks clean/-/t0 of images 4, 5; .*--resume"):
        merge(run)
    assert not run.samples.exists()


def test_a_part_of_another_machine_may_come_late(run, whole):
    late = next(run.parts.glob("000000004-*.parquet"))
    hidden = late.replace(run.path / "hidden")
    threading.Timer(0.3, lambda: hidden.replace(late)).start()
    assert merge(run)
    assert_same(run.path, whole)


def test_a_part_damaged_where_only_merging_looks_is_set_aside_and_measured_again(run, whole):
    """What is missing is told by the keys of the rows alone."""
    part = next(run.parts.glob("000000004-*.parquet"))
    content, keys = part.read_bytes(), run_folder.read_keys([part])
    for place in range(len(content) // 2, len(content)):
        part.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        if not len(read_rows([part])) and run_folder.read_keys([part]).equals(keys):
            break
    assert left(run) == []
    with pytest.raises(InputError, match=f"count for nothing now: {part.name}. --resume measures"):
        merge(run)
    assert left(run) == [((4, 5), CONDITIONS, True)]
    assert run_job(run.path)
    assert_same(run.path, whole)


def test_merging_holds_few_rows_and_reads_no_statistics_to_see_what_is_there(run, whole, monkeypatch):
    read, merge_rows, asked, held = pq.ParquetFile.read, merging.merge_rows, [], []

    def note_columns(self, columns):
        asked.append(columns)
        return read(self, columns)

    def note_rows(rows, conditions):
        held.append(len(rows))
        return merge_rows(rows, conditions)

    monkeypatch.setattr(merging, "_BLOCK", 1)  # a part at a time
    monkeypatch.setattr(merging, "merge_rows", note_rows)
    monkeypatch.setattr(pq.ParquetFile, "read", note_columns)
    job = make_job()
    rows = run.collect(job.grid, np.ones((CONDITIONS, IMAGES), bool))
    assert not run.left(job.grid, rows).any()
    assert asked == [["index", "condition", "draw"]] * 4
    run.merge(job.grid, rows)
    assert held == [2 * ROWS] * 3 + [ROWS]  # two images in each part, then one
    assert_same(run.path, whole)


def test_doubled_images_are_named_with_their_files(run):
    first = next(run.parts.glob("000000002-*.parquet"))
    second = shutil.copy(first, run.parts / "000000003-0000.parquet")
    with pytest.raises(InputError, match=f"image 2 under .* twice, in {first.name} and {second.name}"):
        merge(run)
    second.unlink()
    assert merge(run)


def test_strange_images_are_named(run, tmp_path):
    run_job(tmp_path / "longer", images=9, share="9/9")
    (strange,) = (tmp_path / "longer" / "parts").glob("000000008-*.parquet")
    shutil.copy(strange, run.parts)
    with pytest.raises(InputError, match=f"{strange.name} holds image 8 under .* not part of this run"):
        merge(run)


def test_two_jobs_that_merge_at_the_same_time(run, whole, monkeypatch):
    """The other one is done, and has removed the parts, between listing and reading them here."""
    read, listed = run_folder.read_keys, []

    def slowly(paths):
        listed.append(list(paths))
        if len(listed) == 1:
            merge(RunFolder(run.path))
        return read(listed[-1])

    monkeypatch.setattr(run_folder, "read_keys", slowly)
    assert merge(run)
    assert listed[0]
    assert not listed[0][0].exists()
    assert_same(run.path, whole)
