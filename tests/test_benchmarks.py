"""Every benchmark runs on something tiny and prints its table; how fast anything was is never judged."""

import importlib
import json
import sys
from argparse import Namespace
from dataclasses import replace

import pytest
import torch
from conftest import TinyClassifier, TinyNoiseNetwork, TinySegmenter
from torch import nn

from benchmarks import agreement, attack_strength, intervals, results_size, sequential_votes, startup
from benchmarks.agreement import joined, largest
from benchmarks.contenders import contenders, label_free
from benchmarks.levels_apart import LevelsApart
from benchmarks.linear import fit
from benchmarks.long_run import slope
from benchmarks.paired import Spread, interleave, ratio
from benchmarks.redrawn import Redrawn
from benchmarks.workload import count, recorded, replay
from dds.attacks import PGD, Square
from dds.batch import Record
from dds.data import Scenes
from dds.noise import Streams
from dds.purifiers import DiffusionDenoiser
from dds.runs import RunFolder
from dds.tasks import Classification, DepthEstimation


def tiny_task(name):
    return Classification(nn.Sequential(TinyClassifier(), nn.Linear(4, 10))).eval().requires_grad_(False)


@pytest.fixture
def rows(capsys, monkeypatch):
    """Run a benchmark with tiny networks and return what it printed, a list of cells a line."""

    def run(name, *options):
        module = importlib.import_module(f"benchmarks.{name}")
        monkeypatch.setattr(module, "make_task", tiny_task, raising=False)
        monkeypatch.setattr(
            module, "make_purifier", lambda: DiffusionDenoiser(TinyNoiseNetwork()), raising=False
        )
        module.main(["--size=16", "--rounds=1", *options])
        lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
        return [line.strip("| ").split(" | ") for line in lines if "---" not in line]

    return run


def test_works_take_turns():
    done = []
    works = {name: lambda name=name: done.append(name) for name in "AB"}
    seconds = interleave(works, Namespace(rounds=2, clock="wall"))
    assert "".join(done) == "AB" + "ABAB"  # once to warm up
    assert {name: len(each) for name, each in seconds.items()} == {"A": 2, "B": 2}


def test_ratios_are_taken_within_rounds():
    seconds = {"A": [2.0, 30.0, 4.0], "B": [1.0, 10.0, 1.0]}
    assert ratio(seconds, "A", "B") == Spread(2.5, 3.0, 3.5)


def test_replay_makes_the_recorded_calls(images):
    network = TinyClassifier().requires_grad_(False)
    with recorded(network) as first:
        network(images[:3].requires_grad_()).sum().backward()
        with torch.no_grad():
            network(images)
    with recorded(network) as second:
        replay(first)
    for calls in (first, second):
        assert [(len(call.inputs[0]), call.gradient) for call in calls] == [(3, True), (4, False)]
        assert count(calls, images=2) == (3.5, 1.5)


def test_harness_counts_what_the_networks_are_asked(rows):
    table = rows("harness", "--batch=3", "--batches=1", "--steps=3")[1:]
    # looks: clean, purified; clean, attacked; clean, attacked, purified, both; purified ones ask two networks
    assert [line[2] for line in table] == ["3 + 0", "5 + 3", "15 + 9"]


def test_votes_that_stop_are_those_of_all_draws(capsys, monkeypatch):
    monkeypatch.setattr(sequential_votes, "make_task", tiny_task)
    monkeypatch.setattr(sequential_votes, "make_purifier", lambda: DiffusionDenoiser(TinyNoiseNetwork()))
    sequential_votes.main(["--images=2", "--size=16", "--draws=60", "--levels=50"])
    level, images, fixed, decided, same, *_, taken, ratio = (
        capsys.readouterr().out.splitlines()[2].split("|")[1:-1]
    )
    assert (level.strip(), images.strip(), same.strip()) == ("t50", "2", "1.000")
    assert fixed == decided
    assert float(ratio) == pytest.approx(60 / int(taken), rel=0.05)


def test_intervals_of_two_bootstraps_lie_close(capsys, monkeypatch):
    monkeypatch.setitem(intervals.TASKS, "depth", lambda network: DepthEstimation(TinySegmenter(1)))
    monkeypatch.setattr(intervals, "make_purifier", lambda: DiffusionDenoiser(TinyNoiseNetwork()))
    intervals.main(["depth", "--images=8", "--size=16", "--seeds=2"])
    cells = capsys.readouterr().out.splitlines()[2].strip("| ").split(" | ")
    assert cells[:2] == ["depth", "8"]
    assert all(0 <= float(cell) < 0.5 for cell in cells[2:])


def test_attacks_agree_with_other_libraries(rows, monkeypatch):
    pytest.importorskip("torchattacks")
    monkeypatch.setitem(sys.modules, "foolbox", None)  # as if not installed
    table = {tuple(line[:2]): line for line in rows("attacks", "--batch=3", "--steps=2")[1:]}
    assert table["PGD", "dds"][4] == "2 + 2"
    losses = {table["MI-FGSM", library][5] for library in ("dds", "torchattacks", "art")}
    assert len(losses) == 1
    assert table["PGD", "foolbox"][2] == "not installed"


def test_shared_work_against_a_count_by_hand(rows):
    table = rows("shared_work", "--batch=3", "--steps=1")[1:]
    # alone: 6 clean cells and 3 x 3 x 6 attacked, each a step and a look; together: 6 crafts an attack
    # (bare, five levels) and 16 looks (6 of the bare one, 5 of their own, 5 more at the third view's)
    assert [line[1] for line in table[:4]] == [str(6 + 54 * 2), "54", str(5 + 3 * (5 + 6 + 15)), "33"]
    assert [line[2] for line in table[:4]] == [str(6 + 3 * 22), "18", str(5 + 3 * (5 + 14)), "15"]


def test_checkpointing_saves_memory(rows):
    table = rows("memory", "--size=32", "--batch=4", "--steps=4", "--draws=2")
    assert [line[0] for line in table] == ["batch", "4", "draws", "2"]
    assert float(table[1][1]) > float(table[1][2]) > 0


def test_a_straight_line_is_found(rows):
    assert fit([1, 2, 4], [3.0, 5.0, 9.0]) == pytest.approx((2, 1, 1))
    table = rows("linear", "--batch=1", "--steps=1", "--points=2")
    assert [line[0] for line in table] == ["axis", "images", "conditions", "draws"]


def test_growth_is_that_of_100_batches(rows):
    assert slope([9.0, 9.0, *(0.5 * number for number in range(18))]) == pytest.approx(50)
    assert [line[1] for line in rows("long_run", "--batches=3", "--batch=1")] == [
        "held",
        "resident MiB",
        "open files",
    ]


def test_settings_change_time_and_results(rows):
    table = rows("settings", "--batch=3")
    assert [line[1] for line in table[:3]] == ["setting", "bf16", "bf16"]
    assert [line[0] for line in table[3:]] == ["condition", "clean/-/t0", "clean/-/t50", "clean/-/t145"]


def test_a_gpu_is_measured_by_setting_and_by_part(rows):
    sizes = ("--images=2", "--batch=2", "--times=1", "--steps=2", "--scenes=0")
    table = rows("gpu", *sizes, "--only", "channels-last", "draws together")
    assert [line[1] for line in table[1:4]] == ["as it is", "channels-last", "draws together"]
    shares = [[float(share.strip(" %")) for share in line[1:]] for line in table[-9:]]
    assert [sum(of_one) for of_one in zip(*shares, strict=True)] == pytest.approx([100] * 3, abs=0.5)
    assert min(shares[0][0], *shares[1]) > 0  # both networks were found at work


def test_the_largest_difference_of_any_image_is_found():
    def batch(*values, key="clean/-/t0"):
        return Record((key,), 0, {"iou": torch.tensor(values)}, {})

    one = joined([batch(0.5, 0.25), batch(0.0, key="pgd/same/t50"), batch(1.0)])
    other = joined([batch(0.5, 0.5, 1.0), batch(1.0, key="pgd/same/t50")])
    assert largest(one, other, clean=True) == {"iou": 0.25}
    assert largest(one, other, clean=False) == {"iou": 1.0}


def test_starts_are_measured_in_processes_of_their_own(capsys, monkeypatch):
    works = {startup.BASE: ["-c", "sum(range(10**7))"], "nothing": ["-c", ""]}
    monkeypatch.setattr(startup, "STARTS", works)
    startup.main(["--rounds=1"])
    *_, line = capsys.readouterr().out.splitlines()
    assert line.startswith("| nothing |")
    assert float(line.split()[3]) < 1
    monkeypatch.setattr(startup, "STARTS", {startup.BASE: ["-c", "0 / 0"]})
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        startup.main(["--rounds=1"])


@pytest.mark.parametrize("name", [name for name in results_size.CASES if name != "retrieval"])
def test_made_up_parts_are_merged_as_a_run_is(tmp_path, name):
    folder, case = RunFolder(tmp_path / "run"), replace(results_size.CASES[name], side=(8, 8))
    job = results_size.make_job(case, images=3, attacks=1)
    results_size.write_parts(case, job, folder)
    results_size.merge(job, folder)
    if name == "ade":  # average precision takes long
        results_size.summary(job, folder)
        summary = folder.read_summary()
        assert summary["images"] == 3
        assert len(summary["conditions"]) == 17


def test_metric_of_records_is_the_mean_over_draws():
    def record(draw, right):
        correct = torch.tensor(right)
        return Record(("a",), draw, {"correct": correct, "predicted": correct}, {})

    records = [record(0, [1.0, 1.0]), record(1, [1.0, 0.0]), record(None, [0.0, 0.0])]
    assert agreement.metric_of(Classification(TinyClassifier()), records, "a") == 0.75


def test_growth_is_that_from_half_the_images(capsys, monkeypatch):
    monkeypatch.setattr(
        results_size,
        "measure",
        lambda name, images, attacks: {"merge": (2.0 * images, 3.0 * images, 100.0 + images)},
    )
    results_size.main(["ade", "--images=200", "--attacks=2"])
    *_, line = capsys.readouterr().out.splitlines()
    assert line == "| ade | 200 | 28 | merge | 400.0 | 600.0 | 300 | 2.00 | 1.50 |"


def test_an_attack_on_a_large_database_is_measured():
    results_size.attack(200)


@pytest.mark.parametrize("target", ["label", "mask", "depth", "relevance", "boxes"])
@pytest.mark.parametrize("calls", [200, 1000])
def test_contenders_keep_to_the_budget_and_use_it(target, calls):
    for name, attack in contenders(target, calls, 0.03).items():
        spent = attack.task_calls.forward + attack.task_calls.backward
        assert 0.78 * calls <= spent <= calls, name


@pytest.mark.parametrize(
    ("draws", "together", "seen"),
    [("shared", 2, [0, 0, 2, 2]), ("shared", 4, [0] * 4), ("mirrored", 2, [0, "-0", 2, "-2"])],
)
def test_steps_look_at_the_noise_that_they_share(images, draws, together, seen):
    """Through PGD itself, whose own draws are those of its steps."""
    looked, own = [], []

    def note(into):
        def value(image, streams):
            into.append(streams.normal(image))
            return image.sum((1, 2, 3))

        return value

    streams, options = Streams(0, tuple(range(len(images)))), {"eps": 0.03, "step_size": 0.01, "steps": 4}
    Redrawn(draws, together, **options)(images, note(looked), streams)
    PGD(**options)(images, note(own), streams)
    expected = [-own[int(one[1:])] if isinstance(one, str) else own[one] for one in seen]
    assert all(torch.equal(one, other) for one, other in zip(looked, expected, strict=True))


def test_label_free_contenders_keep_to_the_budget_too():
    task, purifier = Classification(TinyClassifier()), DiffusionDenoiser(TinyNoiseNetwork())
    for name, attack in label_free(200, 0.03, task, purifier).items():
        calls = max(attack.task_calls, attack.purifier_calls, key=lambda calls: calls.forward)
        assert 190 <= calls.forward + calls.backward <= 200, name


def test_levels_are_apart_by_what_is_made_of_the_same_image(images):
    purifier, streams = DiffusionDenoiser(TinyNoiseNetwork()), Streams(0, tuple(range(len(images))))
    view = lambda image, streams: purifier(image, purifier.level(10), streams)  # noqa: E731
    value = LevelsApart(purifier, purifier.level(145)).bind(None, {}, view)
    other = purifier(images, purifier.level(145), streams.child("other"))
    expected = ((view(images, streams) - other) ** 2).flatten(1).mean(1)
    torch.testing.assert_close(value(images, streams), expected)
    assert (expected > 0).all()


def test_attacks_are_ranked_by_what_they_leave(tmp_path, monkeypatch, capsys):
    def make(name, options):
        data = Scenes(size=16, test_images=4, batch_size=4)
        return tiny_task(name), DiffusionDenoiser(TinyNoiseNetwork()), data

    monkeypatch.setattr(attack_strength, "make_task", make)
    attacks = {"none": PGD(0, steps=1), "pgd": PGD("32/255", steps=10), "blind": Square(steps=1)}
    monkeypatch.setattr(attack_strength, "contenders", lambda target, calls, eps, norm: attacks)
    options = ["classification", "--calls=20", "--levels", "10", "50", "--draws=2", f"--folder={tmp_path}"]
    attack_strength.main([*options, "--quiet"])
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line[:1] == "|"]
    found = json.loads((tmp_path / "val" / "attack_strength.json").read_text())
    assert [row[:4] for row in rows[2:]] == [
        [one["task"], str(one["calls"]), str(one["t"]), one["attack"]] for one in found
    ]
    for t in (10, 50):
        here = [one for one in found if one["t"] == t]
        assert {one["attack"] for one in here} == {"clean", *attacks}
        left = [one["left"]["value"] for one in here]
        assert left == sorted(left)
        assert [one["behind"]["value"] for one in here] == pytest.approx([one - left[0] for one in left])
    assert (tmp_path / "val" / "attack_strength.png").stat().st_size > 1000
