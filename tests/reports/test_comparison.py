import io
import itertools
import json
import re
import shutil
import xml.etree.ElementTree as ET
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from browser import ask, needs_browser
from conftest import Table
from matplotlib.figure import Figure
from PIL import Image
from reports.test_report import EVIL, Page
from rich.console import Console
from scipy import stats

import dds.tasks
from dds.errors import InputError
from dds.models.diffusion.schedule import NoiseLevel
from dds.protocol import NOTHING, Defence, list_conditions
from dds.protocol.defences import Sight
from dds.reports import write_comparison
from dds.reports.compared import ComparedRun, read_runs
from dds.reports.comparison import write_compared
from dds.reports.differences import differing_configs, remarks, warnings
from dds.reports.figures import Outcome, courses, exchange
from dds.reports.figures.comparison import looks
from dds.reports.figures.notes import Note
from dds.reports.paired import pair_up, unpaired
from dds.results.summary import summarise
from dds.runs import RunFolder
from dds.runs.examples import write_examples
from dds.runs.run_folder import SCHEMA

DRAWS, IMAGES = 2, range(60)
T50, T145 = Defence("t50", NoiseLevel(50, 0.088)), Defence("t145", NoiseLevel(145, 0.252))
JPEG = Defence("jpeg", random=False)
LEVELS = {50: T50, 145: T145}
HARM = {"clean": 0.1, "pgd": 0.6, "sia": 0.4}
"""Share of wrong answers under an attack; on a defence it is halved."""


def rows_of(task, condition, index, random):
    """Measure an image: what the task's `metrics` need, and what every run has."""
    harm = HARM[condition.attack] / (2 if condition.defence and condition.attack != "clean" else 1)
    wrong = random.random() < harm
    statistics = {
        "Classification": lambda: {"correct": float(not wrong), "predicted": 0.0},
        "DepthEstimation": lambda: {
            "rmse": 1 + 3 * harm * random.random(),
            "absrel": 0.1,
            "delta1": 1.0,
            "known": 1.0,
        },
        "SemanticSegmentation": lambda: counts(harm, random),
    }[task]()
    return {"index": index, "condition": condition.key, **statistics, "psnr": 30.0, "loss": 1.0}


def counts(harm, random):
    predicted, labelled = random.integers(10, 50, (2, 3)).astype(float)
    hit = np.minimum(predicted, labelled) * random.uniform(1 - harm, 1)
    return {"intersection": hit, "predicted": predicted, "labelled": labelled, "iou": 0.5}


def make_run(
    path,
    task="Classification",
    seed=0,
    images=IMAGES,
    attacks=("pgd", "sia"),
    levels=(50, 145),
    data=(),
    steps=10,
    digest="ab",
):
    """Write a finished run; `data` are settings of its data module that differ."""
    folder = RunFolder(path)
    folder.path.mkdir(parents=True)
    defences = [*(LEVELS[t] for t in levels), JPEG]
    conditions = list_conditions(attacks, [NOTHING, Sight("same")], defences, DRAWS)
    random, kind = np.random.default_rng(seed), getattr(dds.tasks, task)
    rows = [
        {**rows_of(task, condition, index, random), "draw": draw}
        for condition in conditions
        for index in images
        for draw in range(condition.draws)
    ]
    samples = pa.Table.from_pylist(rows)
    samples = samples.set_column(samples.column_names.index("draw"), "draw", samples["draw"].cast(pa.int32()))
    pa.parquet.write_table(samples, folder.samples)
    shown = np.zeros((1, 4, 4, 3), np.uint8)
    write_examples({"original": shown, "shown:clean/-/t0": shown}, folder.examples)
    config = {
        "task": {"class_path": f"dds.tasks.{task}", "init_args": {"model": "zoo:x"}},
        "data": {
            "class_path": "dds.data.Scenes",
            "init_args": {"limit": 60, "subset_seed": 0, "batch_size": 32, **dict(data)},
        },
        "protocol": {
            "purifier": {"class_path": "dds.purifiers.DiffusionDenoiser", "init_args": {"model": "zoo:ddpm"}},
            "noise_levels": list(levels),
            "defences": {"jpeg": {}},
            "attacks": {
                name: {"class_path": "dds.attacks.PGD", "init_args": {"steps": steps}} for name in attacks
            },
            "seed": 4,
        },
    }
    weights = {"task": "ab" * 32}
    head = [f"# weights: task {weights['task']}", f"# data: images {len(images)}", f"# data: digest {digest}"]
    folder.write_text(folder.config, "\n".join([*head, yaml.safe_dump(config)]))
    summary = {
        "schema": SCHEMA,
        "task": task,
        "data": "Scenes",
        "images": len(images),
        "seed": 4,
        "utility": kind.utility,
        "lower_is_better": kind.lower_is_better,
        "versions": {"dds": "0.1.0"},
        "weights": weights,
    }
    folder.write_summary({**summary, "conditions": summarise(kind, conditions, Table(samples), None)})
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def cls(root):
    return make_run(root / "cls" / "a")


@pytest.fixture(scope="module")
def cls_again(root):
    return make_run(root / "cls" / "b", seed=1)


@pytest.fixture(scope="module")
def depth(root):
    return make_run(root / "depth" / "a", "DepthEstimation", levels=(50,), steps=20)


@pytest.fixture(scope="module")
def hostile(root):
    """A run whose folder a stranger has named; of one task and one data set with no other run."""
    return make_run(root / EVIL.replace("/", "") / "_a & b", images=range(30), attacks=("pgd",), seed=7)


@pytest.fixture(scope="module")
def page(root, cls, depth, hostile):
    return write_comparison([cls, depth, hostile], root / "all.html").read_text()


def image_means(folder, statistic):
    """Return the mean over draws of each image, conditions as columns."""
    frame = pd.read_parquet(folder.samples)
    return frame.groupby(["index", "condition"])[statistic].mean().unstack()


def interval_of(function, *columns):
    """Resample images by another's bootstrap."""
    found = stats.bootstrap(columns, function, paired=True, n_resamples=3000, method="percentile", rng=1)
    return found.confidence_interval


def assert_estimate(got, value, interval, atol):
    assert got["value"] == pytest.approx(value)
    assert got["low"] == pytest.approx(interval.low, abs=atol)
    assert got["high"] == pytest.approx(interval.high, abs=atol)


# Numbers of one run


def test_what_is_kept_is_a_share_of_the_clean_utility(cls):
    means, run = image_means(cls, "correct"), ComparedRun(cls, "a")
    for entry in run.summary["conditions"]:
        ends = means[entry["key"]], means["clean/-/t0"]
        share = interval_of(lambda one, clean: 100 * one.mean(-1) / clean.mean(-1), *map(np.array, ends))
        assert_estimate(run.kept(entry), 100 * ends[0].mean() / ends[1].mean(), share, atol=2)


def test_of_an_error_it_is_the_share_that_the_clean_error_is_of_it(depth):
    means, run = image_means(depth, "rmse"), ComparedRun(depth, "a")
    for entry in run.summary["conditions"]:
        ends = means["clean/-/t0"], means[entry["key"]]
        share = interval_of(lambda clean, one: 100 * clean.mean(-1) / one.mean(-1), *map(np.array, ends))
        assert_estimate(run.kept(entry), 100 * ends[0].mean() / ends[1].mean(), share, atol=1)


@pytest.mark.parametrize(("fixture", "statistic", "better"), [("cls", "correct", 1), ("depth", "rmse", -1)])
def test_gain_is_what_the_worst_attack_leaves_with_the_defence_and_without(
    request, fixture, statistic, better
):
    folder = request.getfixturevalue(fixture)
    means, run = image_means(folder, statistic), ComparedRun(folder, "a")
    attacked = means[[key for key in means if not key.startswith("clean")]]
    for outcome in run.outcomes:
        defence = outcome.entry["defence"] or "t0"
        worst, bare = (
            (better * attacked[[key for key in attacked if key.endswith(f"/{name}")]].mean()).idxmin()
            for name in (defence, "t0")
        )

        def gain(one, other, clean):
            shares = [np.mean(part, -1) / np.mean(clean, -1) for part in (one, other)]
            shares = shares if better == 1 else [1 / share for share in shares]
            return 100 * (shares[0] - shares[1])

        columns = [means[key].to_numpy() for key in (worst, bare, "clean/-/t0")]
        if worst == bare:
            assert outcome.gain == {"value": 0, "low": 0, "high": 0}
        else:
            assert_estimate(outcome.gain, gain(*columns), interval_of(gain, *columns), atol=2.5)


def test_a_run_without_attacks_has_no_robustness(tmp_path):
    run = ComparedRun(make_run(tmp_path / "x" / "a", attacks=()), "a")
    assert [(one.attacked, one.gain) for one in run.outcomes] == [(None, None)] * 4
    assert run.lines == []


# Paired differences


def test_differences_are_resampled_on_the_same_images(cls, cls_again):
    (pair,) = pair_up(read_runs([cls, cls_again]))
    means = [image_means(folder, "correct") for folder in (cls, cls_again)]
    assert [one.key for one in pair.differences] == [e["key"] for e in pair.first.summary["conditions"]]
    for one in pair.differences:
        columns = [frame[one.key].to_numpy() for frame in means]
        expected = interval_of(lambda a, b: b.mean(-1) - a.mean(-1), *columns)
        assert_estimate(one.difference, columns[1].mean() - columns[0].mean(), expected, atol=0.02)
        assert one.first["value"] == pytest.approx(columns[0].mean())
        assert one.other["value"] == pytest.approx(columns[1].mean())


def test_a_long_comparison_says_how_far_it_is(cls, cls_again, tmp_path, monkeypatch):
    clock, written = itertools.count(0, 40), io.StringIO()
    monkeypatch.setattr("dds.telling.time.monotonic", lambda: next(clock))
    runs = read_runs([cls, cls_again])
    write_compared(runs, tmp_path / "page.html", Console(file=written, width=100))
    count = 2 * len(runs[0].summary["conditions"])
    assert written.getvalue().splitlines()[0] == f"Resampled data sets: 1 of {count} conditions"


def test_a_metric_of_the_whole_data_set_is_computed_anew_on_each_resampled_one(tmp_path):
    folders = [
        make_run(tmp_path / "seg" / name, "SemanticSegmentation", seed=n) for n, name in enumerate("ab")
    ]
    (pair,) = pair_up(read_runs(folders))
    (found,) = (one.difference for one in pair.differences if one.key == "pgd/none/t0")

    def mean_iou(frame, chosen):
        hit, predicted, labelled = (
            np.stack(frame[name].to_numpy())[chosen].sum(0)
            for name in ("intersection", "predicted", "labelled")
        )
        return (hit / (predicted + labelled - hit)).mean()

    frames = [pd.read_parquet(folder.samples).query("condition == 'pgd/none/t0'") for folder in folders]
    random, images = np.random.default_rng(5), len(IMAGES)
    drawn = [random.integers(images, size=images) for _ in range(1500)]
    differences = [mean_iou(frames[1], chosen) - mean_iou(frames[0], chosen) for chosen in drawn]
    low, high = np.percentile(differences, [2.5, 97.5])
    whole = mean_iou(frames[1], slice(None)) - mean_iou(frames[0], slice(None))
    assert_estimate(found, whole, SimpleNamespace(low=low, high=high), atol=0.006)


def test_a_run_and_its_copy_do_not_differ_at_all(cls, tmp_path):
    shutil.copytree(cls.path, tmp_path / "cls" / "copy")
    (pair,) = pair_up(read_runs([cls, RunFolder(tmp_path / "cls" / "copy")]))
    assert len(pair.differences) == len(pair.first.summary["conditions"])
    assert all(one.difference == {"value": 0, "low": 0, "high": 0} for one in pair.differences)
    assert (pair.count("better"), pair.count("worse")) == (0, 0)


@pytest.mark.parametrize(
    ("task", "statistic", "verdict"),
    [("Classification", "correct", "worse"), ("DepthEstimation", "rmse", "better")],
)
def test_verdict_knows_which_is_better(tmp_path, task, statistic, verdict):
    folders = [make_run(tmp_path / "x" / name, task) for name in "ab"]
    frame = pd.read_parquet(folders[1].samples)
    touched = frame.condition == "clean/-/jpeg"
    frame.loc[touched, statistic] = 0.5 * frame.loc[touched, statistic]
    schema = pa.parquet.read_schema(folders[1].samples)
    pa.parquet.write_table(pa.Table.from_pandas(frame, schema, preserve_index=False), folders[1].samples)
    (pair,) = pair_up(read_runs(folders))
    assert {one.key: one.verdict for one in pair.differences if one.verdict} == {"clean/-/jpeg": verdict}


UNLIKE = {
    "limit": ({"data": {"limit": 30}}, r"data are not set alike \(data\.limit 60 and 30\)"),
    "root": ({"data": {"root": "/x"}}, r"data are not set alike \(data\.root – and /x\)"),
    "files": ({"digest": "cd"}, "their data sets hold other files, or in another order"),
    "images": ({"images": range(1, 61)}, r"images are not the same \(60 and 60, 59 in common\)"),
    "task": ({"task": "DepthEstimation"}, r"different tasks \(Classification, DepthEstimation\)"),
}


@pytest.mark.parametrize("reason", UNLIKE)
def test_runs_on_other_images_or_of_another_task_are_not_paired_and_it_is_said_why(cls, tmp_path, reason):
    changes, words = UNLIKE[reason]
    runs = read_runs([cls, make_run(tmp_path / "x" / "a", **changes)])
    assert pair_up(runs) == []
    (said,) = unpaired(runs)
    assert re.search(words, said)


def test_batch_size_does_not_matter_and_of_many_runs_each_is_compared_with_the_first(cls, tmp_path):
    folders = [make_run(tmp_path / "x" / name, levels=(), data={"batch_size": 3}) for name in "bcd"]
    runs = read_runs([cls, *folders])
    assert list(unpaired(runs)) == []
    names = [(pair.first.name, pair.other.name) for pair in pair_up(runs)]
    assert names == [("cls/a", f"x/{name}") for name in "bcd"]
    assert [(p.first.name, p.other.name) for p in pair_up(runs[:3])] == [*names[:2], ("x/b", "x/c")]


# What is not alike


def test_warns_where_worst_is_not_of_the_same_attacks_or_settings(cls, depth, hostile):
    runs = read_runs([cls, depth, hostile])
    said = "\n".join(warnings(runs))
    assert "is not the worst of the same attacks in all runs" in said
    both = "4 (attacker sees none: pgd, sia; attacker sees same: pgd, sia)"
    assert f"In cls/a, depth/a it is that of {both}." in said
    assert f"In {runs[2].name} it is that of 2 (attacker sees none: pgd; attacker sees same: pgd)." in said
    assert f"The attack pgd is not set alike: steps 10 in cls/a, {runs[2].name} and 20 in depth/a." in said
    assert "The runs have not the same defences" in " ".join(remarks(runs))


def test_runs_alike_need_no_warning(cls, cls_again):
    runs = read_runs([cls, cls_again])
    assert warnings(runs) == []
    assert len(remarks(runs)) == 1
    assert "In every run the worst attack is that of 4 (attacker sees none" in remarks(runs)[0]
    assert differing_configs(runs) == {}


def test_lists_the_settings_that_differ(cls, depth):
    assert differing_configs(read_runs([cls, depth])) == {
        "task.class_path": ["dds.tasks.Classification", "dds.tasks.DepthEstimation"],
        "protocol.attacks.pgd.init_args.steps": ["10", "20"],
        "protocol.attacks.sia.init_args.steps": ["10", "20"],
        "protocol.noise_levels": ["[50, 145]", "[50]"],
    }


@pytest.fixture
def interrupted(cls, tmp_path):
    """As a run of ten images that was killed after the first four."""
    folder = make_run(tmp_path / "cut" / "a", images=range(10))
    frame = pd.read_parquet(folder.samples)
    draws = frame[frame.condition.str.contains("/t50|/t145") & (frame.draw == 0)].assign(draw=-1)
    frame = pd.concat([frame, draws]).query("index < 4")
    folder.parts.mkdir()
    schema = pa.parquet.read_schema(folder.samples)
    table = pa.Table.from_pandas(frame, schema, preserve_index=False)
    pa.parquet.write_table(table, folder.parts / "000000000.parquet", write_page_checksum=True)
    folder.examples.rename(folder.parts / "000000000.npz")
    head = {key: value for key, value in folder.read_summary().items() if key != "conditions"}
    defences, sights = [*LEVELS.values(), JPEG], [NOTHING, Sight("same")]
    conditions = [asdict(one) for one in list_conditions(["pgd", "sia"], sights, defences, DRAWS)]
    plan = {"head": head, "indices": list(range(10)), "conditions": conditions}
    folder.summary.unlink()
    folder.samples.unlink()
    folder.plan.write_text(json.dumps(plan))
    return folder


def test_an_interrupted_run_is_compared_as_far_as_it_got_and_marked(cls, interrupted, tmp_path):
    runs = read_runs([cls, interrupted])
    assert runs[1].images == [0, 1, 2, 3]
    frame = pd.read_parquet(interrupted.parts / "000000000.parquet").query("draw >= 0")
    means = frame.groupby("condition").correct.mean()
    assert {k: runs[1].utility(k)[0] for k in means.index} == pytest.approx(means.to_dict())
    (said,) = warnings(runs)
    assert said.startswith(
        "cut/a is not complete. The run was interrupted: there are rows of 4 of 10 images."
    )
    page = write_comparison([cls, interrupted], tmp_path / "all.html").read_text()
    assert "not complete" in page
    assert "their images are not the same (60 and 4, 4 in common)" in Page(page).text


def test_an_interrupted_run_shows_itself_in_a_notebook_as_far_as_it_got(interrupted):
    shown = dds.Results.read(interrupted.path)._repr_html_()
    assert "Classification on 4 images of Scenes: accuracy, higher is better" in shown
    assert "Not measured yet: " in shown
    assert "<th>pgd, attacker sees same</th>" in shown
    assert not {"<img", "href"} & set(re.findall(r"<img|href", shown))


# The page


def test_the_page_is_whole_small_and_needs_nothing_else(page):
    assert len(page.encode()) < 5_000_000
    elements = Page(page).elements
    for tag, attributes in elements:
        for name in ("src", "href", "xlink:href", "data", "action", "srcset"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes[name])
    assert not re.findall(r"https?://", re.sub(r' xmlns(:\w+)?="[^"]*"', "", page))
    ids = re.findall(r' id="([^"]*)"', page)
    assert len(ids) == len(set(ids)) > 10
    assert {name for name in re.findall(r'href="#([^"]*)"', page)} <= set(ids)
    assert "default-src 'none'" in page


def test_names_of_strangers_are_text(page, hostile):
    assert page.count("<script>") == 1
    name = f"{hostile.path.parent.name}/_a & b"
    read = Page(page)
    assert [tag for tag, _ in read.elements].count("script") == 1
    assert name in read.text
    legends = [part for part in page.split("<figure>")[1:] if "_a &amp; b</text>" in part]
    assert len(legends) == 2  # of both figures


def test_every_share_is_in_the_table_of_all_conditions(page, cls, depth, hostile):
    runs = read_runs([cls, depth, hostile])
    section = page[page.index('<section id="conditions"') :]
    rows = {row[0]["text"]: row[1:] for row in Page(section[: section.index("</section>") + 10]).rows[1:]}
    keys = {entry["key"] for run in runs for entry in run.summary["conditions"]}
    assert set(rows) == keys
    for place, run in enumerate(runs):
        entries = {entry["key"]: entry for entry in run.summary["conditions"]}
        for key in keys:
            cell = rows[key][place]
            share = run.kept(entries[key])["value"] if key in entries else None
            assert cell["text"].startswith("" if share is None else f"{share:.1f} %")
            assert share is None or float(cell["value"]) == pytest.approx(share)


def test_the_table_of_the_runs_names_the_best_level_by_the_rule(page, cls):
    run = ComparedRun(cls, "a")
    best, *_ = run.comparison.ranked(named=False)
    (row,) = (row for row in Page(page).rows if row[0]["text"] == "cls/a" and len(row) == 13)
    texts = [cell["text"] for cell in row]
    assert texts[1:8] == [
        "Classification",
        "Scenes",
        "abababab",
        "DiffusionDenoiser, zoo:ddpm",
        "60",
        "4",
        "accuracy ↑",
    ]
    assert texts[9] == best.name
    assert texts[10].startswith(f"{abs(best.clean['utility_drop']['value']):.1%}")
    kept = (
        100
        * run.comparison.utility(best.worst)["value"]
        / run.comparison.utility(run.comparison.undefended.clean)["value"]
    )
    assert texts[11].startswith(f"{kept:.1f} %")
    assert texts[12] == "not recorded"


def test_figures_lie_beside_the_page(root, page):
    assert {path.name for path in (root / "all").iterdir()} == {
        f"{name}.{kind}" for name in ("exchange", "kept") for kind in ("png", "svg")
    }
    for name in ("exchange", "kept"):
        ET.parse(root / "all" / f"{name}.svg")
        with Image.open(root / "all" / f"{name}.png") as image:
            assert image.width > 600
        assert f"all/{name}.svg" in page


def test_runs_of_one_task_are_also_drawn_in_its_unit(cls, cls_again, tmp_path):
    page = write_comparison([cls, cls_again], tmp_path / "two.html").read_text()
    assert (tmp_path / "two" / "utility.png").is_file()
    assert "cls/b minus cls/a: better under" in page
    assert "do not differ but in what the runs are called" in page


def test_without_any_attack_there_is_no_exchange(tmp_path):
    folders = [make_run(tmp_path / "x" / name, attacks=()) for name in "ab"]
    page = write_comparison(folders, tmp_path / "two.html").read_text()
    assert "There is nothing to draw" in page
    assert not (tmp_path / "two" / "exchange.png").exists()
    assert "none eligible" in page


def test_runs_of_the_same_name_are_told_apart_by_the_folders_above(tmp_path, cls):
    shutil.copytree(cls.path, tmp_path / "elsewhere" / "cls" / "a")
    names = [run.name for run in read_runs([cls, RunFolder(tmp_path / "elsewhere" / "cls" / "a")])]
    assert names == [f"{cls.path.parents[1].name}/cls/a", "elsewhere/cls/a"]


# What cannot be compared


def test_refuses_what_cannot_be_compared(cls, depth, tmp_path):
    with pytest.raises(InputError, match="a comparison of 1 runs; expected two or more"):
        write_comparison([cls], tmp_path / "x.html")
    with pytest.raises(InputError, match="is named more than once"):
        write_comparison([cls, depth, RunFolder(cls.path.parent / "." / "a")], tmp_path / "x.html")
    with pytest.raises(InputError, match=r"holds no summary\.json"):
        write_comparison([cls, RunFolder(tmp_path)], tmp_path / "x.html")
    with pytest.raises(InputError, match="there is no folder"):
        write_comparison([cls, depth], tmp_path / "nowhere" / "x.html")
    with pytest.raises(InputError, match=r"ends in \.html"):
        write_comparison([cls, depth], tmp_path / "x")
    (tmp_path / "y.html").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        write_comparison([cls, depth], tmp_path / "y.html")
    (tmp_path / "z").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        write_comparison([cls, depth], tmp_path / "z.html")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["z"]


@pytest.mark.parametrize("spoil", ["schema", "task"])
def test_refuses_a_run_of_another_schema_or_of_a_task_that_is_not_found(cls, depth, tmp_path, spoil):
    shutil.copytree(depth.path, tmp_path / "x" / "a")
    folder = RunFolder(tmp_path / "x" / "a")
    if spoil == "schema":
        folder.summary.write_text(json.dumps(folder.read_summary() | {"schema": 0}))
    else:
        folder.config.write_text(folder.config.read_text().replace("dds.tasks.Depth", "theirs.Depth"))
        folder.config.write_text(folder.config.read_text().replace("DepthEstimation", "build_depth"))
        folder.summary.write_text(json.dumps(folder.read_summary() | {"task": "TheirDepth"}))
    with pytest.raises(InputError, match="schema 0" if spoil == "schema" else "cannot be imported"):
        read_runs([cls, folder])


def test_a_task_that_a_function_builds_is_found_by_its_name(depth, tmp_path):
    shutil.copytree(depth.path, tmp_path / "x" / "a")
    folder = RunFolder(tmp_path / "x" / "a")
    folder.config.write_text(folder.config.read_text().replace("dds.tasks.DepthEstimation", "theirs.build"))
    assert ComparedRun(folder, "a").task is dds.tasks.DepthEstimation


# Figures


def outcome(defence, t, clean, attacked=None, gain=None):
    exactly = [
        None if value is None else dict.fromkeys(("value", "low", "high"), value)
        for value in (clean, attacked, gain)
    ]
    return Outcome({"defence": defence, "t": t, "sigma": t and t / 1000}, *exactly)


RUNS = {
    "one": [
        outcome(None, None, 100, 10, 0),
        outcome("t50", 50, 80, 40, 30),
        outcome("jpeg", None, 90, 10, 0),
    ],
    "two": [
        outcome(None, None, 100, 20, 0),
        outcome("t145", 145, 60, 15, -5),
        outcome("bits", None, 100, 20, 0),
    ],
}


def drawn(axes, name):
    return [line.get_xydata().tolist() for line in axes.lines if line.get_label() == name]


def test_exchange_has_a_line_of_levels_and_marks_of_other_defences_for_each_run():
    figure = Figure()
    exchange(figure, RUNS)
    (axes,) = figure.axes
    assert drawn(axes, "one") == [[[0, 0], [20, 30]], [[10, 0]]]
    assert drawn(axes, "two") == [[[0, 0], [40, -5]], [[0, 0]]]
    assert {text.get_text() for text in axes.texts} == {"t0, bits", "t50", "jpeg", "t145"}
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["one", "two"]


def test_marks_of_runs_say_what_they_keep_and_under_which_attack(cls):
    figure = Figure()
    run = ComparedRun(cls, "one")
    exchange(figure, {"one": run.outcomes})
    texts = [note.text for note in figure.findobj(Note)]
    assert len(texts) == len(run.outcomes)
    (said,) = [text for text in texts if text.startswith("one, t=50 σ=0.088\n")]
    (outcome,) = [one for one in run.outcomes if one.entry["defence"] == "t50"]
    assert f"\nclean images {outcome.clean['value']:.2f} (95 % interval " in said
    assert f"\nworst attack {outcome.attacked['value']:.2f} (95 % interval " in said
    assert f"\ngained {outcome.gain['value']:.2f} (95 % interval " in said
    assert said.endswith(f"\n{outcome.worst['key']}")


def test_courses_stand_at_the_logarithm_of_sigma_with_what_has_none_beside():
    figure = Figure()
    courses(figure, RUNS, "kept")
    clean, attacked = figure.axes
    assert [[y for _, y in line] for line in drawn(clean, "one")] == [[100, 80], [90]]
    assert [[y for _, y in line] for line in drawn(attacked, "two")] == [[20, 15], [20]]
    (_, at_50), (_, at_145) = ([x for x, _ in drawn(clean, name)[0]] for name in RUNS)
    assert at_145 - at_50 == pytest.approx(np.log2(145 / 50), abs=0.06)
    ticks = dict(
        zip([label.get_text() for label in attacked.get_xticklabels()], attacked.get_xticks(), strict=True)
    )
    assert list(ticks) == ["no\ndefence", "t=50\nσ=0.050", "t=145\nσ=0.145", "jpeg", "bits"]


def test_without_levels_or_attacks_there_is_still_a_course():
    figure = Figure()
    courses(
        figure,
        {"a": [outcome(None, None, 100)], "b": [outcome(None, None, 100), outcome("x", None, 50)]},
        "kept",
    )
    (axes,) = figure.axes
    assert len(drawn(axes, "b")) == 2


def test_runs_look_different():
    eight = looks([str(n) for n in range(8)])
    assert len({look.colour for look in eight.values()}) == 8
    assert len(set(looks([str(n) for n in range(56)]).values())) == 56


# In a browser


@needs_browser
def test_in_a_browser_tables_sort_and_a_phone_need_not_scroll_sideways(page, tmp_path):
    script = """
      const table = document.querySelector("#conditions table");
      const column = (n) => [...table.tBodies[0].rows].map((row) => row.cells[n].dataset.value ?? "");
      table.tHead.rows[0].cells[2].querySelector("button").click();
      said.falling = column(2);
    """
    said = ask(page, script, tmp_path)
    numbers = [float(value) for value in said["falling"] if value]
    assert numbers == sorted(numbers, reverse=True)
    assert "" in said["falling"]
    assert set(said["falling"][len(numbers) :]) == {""}
    assert said["width"] <= said["phone"]
