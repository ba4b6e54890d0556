import json
from io import StringIO

import numpy as np
import pyarrow as pa
import pytest
import torch
from conftest import Table
from matplotlib.figure import Figure
from rich.console import Console
from scipy import stats

from dds.metrics.intervals import interval
from dds.models.diffusion.schedule import NoiseLevel
from dds.protocol import NOTHING, Defence, list_conditions
from dds.reports.figures import utility_curve
from dds.reports.figures.style import styles as styles_of
from dds.reports.table import summary_tables
from dds.results.summary import summarise
from dds.tasks import Classification, DepthEstimation

IMAGES, DRAWS = 200, 3
T10 = Defence("t10", NoiseLevel(10, 0.02))
CONDITIONS = list_conditions(["pgd"], [NOTHING], [T10], DRAWS)


@pytest.fixture
def samples():
    random = np.random.default_rng(0)
    rows = []
    for condition in CONDITIONS:
        right = {"clean": 0.9, "pgd": 0.3}[condition.attack]
        for index in range(IMAGES):
            for draw in range(condition.draws):
                correct = float(random.random() < right)
                rows.append({"index": index, "condition": condition.key, "draw": draw, "correct": correct})
    extra = {"predicted": 0.0, "psnr": 30.0, "ssim": 0.9, "linf": 0.03, "l2": 1.0}
    return pa.Table.from_pylist([row | extra for row in rows])


@pytest.fixture
def votes(samples):
    first = samples.filter(pa.compute.equal(samples["draw"], 1)).drop_columns(
        ["draw", "psnr", "ssim", "linf", "l2"]
    )
    return first


def entry(entries, key):
    return next(entry for entry in entries if entry["key"] == key)


def test_values_are_recomputed_from_the_rows(samples, votes):
    entries = summarise(Classification, CONDITIONS, Table(samples), Table(votes))
    frame = samples.to_pandas()
    for condition in CONDITIONS:
        rows = frame[frame.condition == condition.key]
        metrics = entry(entries, condition.key)["metrics"]
        assert metrics["accuracy"]["value"] == pytest.approx(rows.correct.mean())
        if condition.draws > 1:
            worst = rows.groupby("index").correct.min().mean()
            assert metrics["accuracy_worst"]["value"] == pytest.approx(worst)
            vote = votes.to_pandas()
            vote = vote[vote.condition == condition.key].correct.mean()
            assert metrics["accuracy_vote"]["value"] == pytest.approx(vote)
        else:
            assert "accuracy_worst" not in metrics


def test_interval_agrees_with_scipys_bootstrap(samples):
    entries = summarise(Classification, CONDITIONS, Table(samples), None)
    rows = samples.to_pandas().query("condition == 'clean/-/t10'")
    means = rows.groupby("index").correct.mean().to_numpy()
    reference = stats.bootstrap((means,), np.mean, n_resamples=2000, method="percentile", rng=0)
    got = entry(entries, "clean/-/t10")["metrics"]["accuracy"]
    assert got["low"] == pytest.approx(reference.confidence_interval.low, abs=0.006)
    assert got["high"] == pytest.approx(reference.confidence_interval.high, abs=0.006)


def test_utility_drop_is_relative_to_the_clean_undefended_task(samples):
    entries = summarise(Classification, CONDITIONS, Table(samples), None)
    clean = entry(entries, "clean/-/t0")
    attacked = entry(entries, "pgd/none/t0")
    ratio = attacked["metrics"]["accuracy"]["value"] / clean["metrics"]["accuracy"]["value"]
    assert clean["utility_drop"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert attacked["utility_drop"]["value"] == pytest.approx(1 - ratio)
    assert attacked["utility_drop"]["low"] < 1 - ratio < attacked["utility_drop"]["high"]


def test_of_an_error_the_largest_is_worst_and_growth_is_lost_utility():
    conditions = list_conditions([], [], [T10], 2)
    errors = {("clean/-/t0", 0): 1.0, ("clean/-/t10", 0): 1.5, ("clean/-/t10", 1): 2.5}
    rows = [
        {
            "index": index,
            "condition": key,
            "draw": draw,
            "rmse": rmse,
            "absrel": 0.1,
            "delta1": 1.0,
            "known": 1.0,
        }
        for index in range(3)
        for (key, draw), rmse in errors.items()
    ]
    last = summarise(DepthEstimation, conditions, Table(pa.Table.from_pylist(sorted_rows(rows))), None)[1]
    assert last["metrics"]["RMSE"]["value"] == pytest.approx(2.0)
    assert last["metrics"]["RMSE_worst"]["value"] == pytest.approx(2.5)
    assert last["utility_drop"]["value"] == pytest.approx(1.0)


def sorted_rows(rows):
    return sorted(rows, key=lambda row: (row["condition"], row["index"], row["draw"]))


def test_success_counts_all_images_and_those_that_were_right_before(samples):
    entries, frame = summarise(Classification, CONDITIONS, Table(samples), None), samples.to_pandas()
    for defence in ("t0", "t10"):
        before, after = (
            frame[frame.condition == key].set_index(["index", "draw"]).correct
            for key in (f"clean/-/{defence}", f"pgd/none/{defence}")
        )
        metrics = entry(entries, f"pgd/none/{defence}")["metrics"]
        assert metrics["attack_success"]["value"] == pytest.approx((after == 0).mean())
        assert metrics["attack_success_on_correct"]["value"] == pytest.approx(
            (after[before == 1] == 0).mean()
        )
    assert "attack_success" not in entry(entries, "clean/-/t10")["metrics"]


def test_what_no_attacker_made_is_no_attack_that_succeeds():
    conditions = list_conditions([], [], [], 1, controls=["dark"])
    rows = [
        {"index": index, "condition": condition.key, "draw": 0, "correct": 1.0}
        for condition in conditions
        for index in range(3)
    ]
    clean, dark = summarise(Classification, conditions, Table(pa.Table.from_pylist(rows)), None)
    assert dark["key"] == "dark/-/t0"
    assert dark["metrics"].keys() == clean["metrics"].keys() == {"accuracy"}


def test_summary_is_json_without_nan(samples):
    text = json.dumps(summarise(Classification, CONDITIONS, Table(samples), None), allow_nan=False)
    first = json.loads(text)[0]
    assert (first["key"], first["defence"], first["t"], first["sigma"]) == ("clean/-/t0", None, None, None)


def test_what_is_not_finite_is_absent():
    assert interval(torch.full((5,), torch.nan)) == {"value": None, "low": None, "high": None}
    assert interval(torch.tensor([0.0, -torch.inf, 1.0, 1.0])) == {"value": 0.0, "low": 1.0, "high": 1.0}


def test_defences_without_a_level_have_a_name_in_tables_and_a_mark_in_figures(samples):
    entries = summarise(Classification, CONDITIONS, Table(samples), None)
    named = [{**entries[1], "key": "clean/-/jpeg", "defence": "jpeg", "t": None, "sigma": None}, *entries]
    summary = {
        "conditions": named,
        "images": IMAGES,
        "data": "X",
        "utility": "accuracy",
        "lower_is_better": False,
    }
    (table,) = summary_tables(summary, "accuracy", width=100)
    headers = [str(column.header) for column in table.columns]
    assert "jpeg" in headers
    figure = Figure()
    utility_curve(figure, summary)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["no\ndefence", "t=10\nσ=0.020", "jpeg"]
    clean, marks, *_ = axes.lines
    assert (clean.get_xdata().tolist(), marks.get_xdata().tolist()) == ([0, 1], [2])


def test_table_has_a_row_for_each_attack_and_empty_cells_stay_empty(samples):
    entries = summarise(Classification, CONDITIONS, Table(samples), None)
    summary = {"conditions": entries[:-1], "images": IMAGES, "data": "X"}
    (table,) = summary_tables(summary, "accuracy", width=100)
    columns = [list(column.cells) for column in table.columns]
    assert columns[0] == ["clean", "pgd/none", "PSNR, dB"]
    assert columns[2][1] == ""  # pgd at t10 was left out
    assert columns[1][0].startswith(".9") or columns[1][0].startswith(".8")


@pytest.mark.parametrize("width", [60, 80, 100, 300])
def test_tables_fit_the_line_and_show_every_cell_whole(samples, width):
    """The defences share two tables or more out where they must; a cell is never cut off."""
    names = ["t10", *(f"other{n}" for n in range(9))]
    condition = CONDITIONS[1]
    (entry,) = [
        e for e in summarise(Classification, CONDITIONS, Table(samples), None) if e["key"] == condition.key
    ]
    entries = [{**entry, "t": None, "defence": name, "key": f"clean/-/{name}"} for name in names]
    tables = summary_tables({"conditions": entries, "images": IMAGES, "data": "X"}, "accuracy", width)
    console = Console(width=width, record=True, file=StringIO())
    console.print(*tables)
    said = console.export_text()
    assert max(map(len, said.splitlines())) <= width
    assert all(name in said for name in names)
    assert "…" not in said
    assert (len(tables) == 1) == (width == 300)


def test_many_lines_share_colours_by_attack_and_dashes_by_view():
    lines = [("clean", "-"), *((f"attack{n}", sees) for n in range(4) for sees in ("none", "same", "t145"))]
    styles = styles_of(lines)
    assert len(set(styles.values())) == len(lines)
    assert len({styles["attack0", sees][0] for sees in ("none", "same", "t145")}) == 1
    assert len({styles[f"attack{n}", "same"][1] for n in range(4)}) == 1
    few = styles_of(lines[:4])
    assert len({colour for colour, _ in few.values()}) == 4
