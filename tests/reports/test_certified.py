"""What is certified over the radius: figures, tables and words."""

import json
from io import StringIO

import numpy as np
import pytest
from matplotlib.figure import Figure
from reports.test_comparison import make_run
from reports.test_report import Page, cell, compare
from rich.console import Console

from dds.reports import write_comparison
from dds.reports.certified import certificate_lines, certificate_table
from dds.reports.figures import certified_curves, certified_runs
from dds.reports.figures.notes import Note
from dds.results.radius_curves import drawn_curves, named_radii, radius_curves
from dds.results.standing import Comparison

LEVELS = {"t50": (50, 0.088), "t145": (145, 0.252)}
RATIOS = (0.25, 1.0)


def certificate(defence="t50", ratio=0.25, score="iou", kind="score", attacked=True, **other):
    t, sigma = LEVELS[defence]
    entry = {"defence": defence, "t": t, "sigma": sigma, "kind": kind, "score": score, "images": 4}
    entry |= {"radius": ratio * sigma, "mean": 0.8, "value": 0.8 - 0.5 * ratio, "linf": ratio * sigma / 111}
    if attacked:
        entry |= {"attacked": 0.8 - 0.3 * ratio, "attacked_upper": 0.85, "agree": 4, "of": 4, "disagree": []}
    return entry | other


def summary_of(*entries, bracket=True):
    certificates = {"alpha": 0.001, "draws": 20, "statements": {}, "refused": {}, "pixels": [64, 64]}
    how = {"alpha": 1e-5, "comparisons": 90, "draws": 20, "statement": "s"}
    certificates |= {"entries": list(entries), **({"bracket": how} if bracket else {})}
    return {"certificates": certificates}


GRID = [
    certificate(defence, ratio, score)
    for defence in ("t145", "t50")
    for score in ("iou", "pixel_accuracy")
    for ratio in RATIOS
]


def lines_of(axes, label):
    points = [np.transpose(line.get_data()) for line in axes.lines if line.get_label() == label]
    return [[tuple(point) for point in one.round(9).tolist()] for one in points]


def test_a_panel_for_each_level_and_score_with_the_truth_between():
    figure = Figure()
    certified_curves(figure, radius_curves(summary_of(*GRID)))
    assert [axes.get_title() for axes in figure.axes] == ["t=50 σ=0.088", "t=145 σ=0.252", "", ""]
    assert [axes.get_ylabel() for axes in figure.axes] == ["iou", "", "pixel_accuracy", ""]
    for axes, sigma in zip(figure.axes, [0.088, 0.252] * 2, strict=True):
        radii = [ratio * sigma for ratio in RATIOS]
        assert lines_of(axes, "certified (lower bound)") == [list(zip(radii, [0.675, 0.3], strict=True))]
        attacked = [(0, 0.8), *zip(radii, [0.725, 0.5], strict=True)]
        assert lines_of(axes, "under attack (mean)") == [attacked]
        assert lines_of(axes, "clean mean") == [[(0, 0.8)]]
        (between,) = axes.collections
        low, high = between.get_datalim(axes.transData).intervaly
        assert (low, high) == pytest.approx((0.3, 0.8))


def test_marks_say_what_is_certified_and_what_attacks_left():
    figure = Figure()
    certified_curves(figure, radius_curves(summary_of(certificate(ratio=1.0))))
    text = "iou, t=50 σ=0.088, L2 radius 0.088\ncertified: at least 0.300\nwithout attack 0.800"
    attacked = "under attack 0.500, upper confidence bound 0.850"
    assert [(note.place, note.text) for note in figure.findobj(Note)] == [
        ((0.088, value), f"{text}\n{attacked}") for value in (pytest.approx(0.3), pytest.approx(0.5))
    ]
    figure = Figure()
    alone = radius_curves(summary_of(certificate(ratio=1.0, attacked=False, lower_is_better=True)))
    certified_runs(figure, {"one": alone})
    assert [note.text for note in figure.findobj(Note)] == [f"one: {text}".replace("least", "most")]


def test_without_attacks_only_what_is_certified_is_drawn():
    figure = Figure()
    certified_curves(figure, radius_curves(summary_of(certificate(attacked=False))))
    (axes,) = figure.axes
    assert not axes.collections
    assert not lines_of(axes, "under attack (mean)")
    assert lines_of(axes, "certified (lower bound)") == [[(0.022, 0.675)]]


def test_votes_are_drawn_where_there_is_no_score_and_never_beside_one():
    vote = certificate(kind="vote", score="correct", attacked=False)
    alone, beside = radius_curves(summary_of(vote)), radius_curves(summary_of(vote, certificate()))
    assert [curve.row for curve in beside] == ["correct (vote)", "iou"]
    assert [curve.row for curve in drawn_curves(beside)] == ["iou"]
    assert [curve.row for curve in drawn_curves(alone)] == ["correct (vote)"]
    assert radius_curves({}) == []


def test_radii_are_named_by_sigma_where_all_levels_have_the_same_parts_of_it():
    names = [name for name, _ in named_radii(radius_curves(summary_of(*GRID)))]
    assert set(names) == {"0.25sigma", "1sigma"}
    same = [certificate("t50", radius=0.1), certificate("t145", radius=0.1)]
    assert [name for name, _ in named_radii(radius_curves(summary_of(*same)))] == ["r0.1", "r0.1"]


def test_table_and_words_say_both_bounds_and_who_disagrees():
    votes = [certificate(ratio=ratio, score="pixel_accuracy", kind="vote") for ratio in (*RATIOS, 2.0)]
    summary = summary_of(*GRID[:-1], {**GRID[-1], "agree": 3, "disagree": [7]}, *votes)
    console = Console(width=100, record=True, file=StringIO())
    console.print(certificate_table(summary["certificates"]))
    printed = console.export_text()
    assert "0.675" in printed
    assert "attacked 0.725" in printed
    assert " pixel_accuracy (vote) " in printed
    text = " ".join(certificate_lines(summary["certificates"]))
    assert "3 of 4 images agree" in text
    assert "CONTRADICTED: image 7 at t50, radius 0.088, pixel_accuracy." in text
    assert "on 64x64 pixels a radius r covers 0.00902 r; the largest here, r=0.252, covers 0.58/255" in text
    assert "8/255 would need r=3.48" in text


def test_attacks_at_certified_radii_choose_no_best_level():
    """Their budget grows with the level, so that levels cannot be compared by them."""
    attacked = [cell("pgd_l2@1sigma", "same", "t10", 0.5), cell("pgd_l2@8bit", "same", "t50", 0.4)]
    summary, comparison = compare(*attacked)
    assert [standing.clean["defence"] for standing in comparison.ranked(named=False)] == ["t50"]
    assert Comparison(summary).attacks_by_sight() == {"same": [("pgd_l2@8bit", 0.4)]}


def test_certified_curves_of_runs_lie_over_each_other(tmp_path):
    folders = [
        make_run(tmp_path / name, images=range(4), attacks=(), levels=(50,)) for name in ("one", "two")
    ]
    for folder, lost in zip(folders, (0.0, 0.1), strict=True):
        entries = [certificate(ratio=ratio, mean=0.8 - lost) for ratio in RATIOS]
        entries += [certificate(kind="vote", attacked=False)]
        folder.write_summary(json.loads(folder.summary.read_text()) | summary_of(*entries))
    page = write_comparison(folders, tmp_path / "comparison.html")
    assert (tmp_path / "comparison" / "certified.png").is_file()
    rows = Page(page.read_text()).rows
    found = [[cell["text"] for cell in row] for row in rows if len(row) == 8 and row[2]["text"] == "iou"]
    assert found[0][1:] == ["t=50 σ=0.088", "iou", "0.999", "0.022", "0.800", "0.675", "0.725"]
    assert len(found) == 4
    votes = [[cell["text"] for cell in row] for row in rows if len(row) == 8 and "vote" in row[2]["text"]]
    assert [vote[2:] for vote in votes] == [["iou (vote)", "0.999", "0.022", "0.800", "0.675", ""]] * 2
    figure = Figure()
    curves = {name: radius_curves(summary_of(*GRID)) for name in ("one", "two")}
    certified_runs(figure, curves)
    assert [axes.get_title() for axes in figure.axes] == ["t=50 σ=0.088", "t=145 σ=0.252"]
    assert len(lines_of(figure.axes[0], "two: iou")) == 1
