import xml.etree.ElementTree as ET
from importlib import import_module

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from dds.reports.figures import draw_figures, example_panels, trade_off, utility_curve, view_heatmaps
from dds.reports.figures.examples import line_height
from dds.reports.figures.notes import Note
from dds.reports.figures.style import STYLE, styles

SVG = "{http://www.w3.org/2000/svg}"


def entry(attack, sees, defence, value, drop=0.0, spread=0.05):
    t = int(defence[1:]) if defence and defence[0] == "t" else None
    around = {"value": value, "low": value - spread, "high": value + spread}
    return {
        "key": f"{attack}/{sees}/{defence or 't0'}",
        "attack": attack,
        "attacker_sees": sees,
        "defence": defence,
        "t": t,
        "sigma": t and t / 1000,
        "metrics": {"score": around},
        "utility_drop": {"value": drop, "low": drop - 0.1, "high": drop + 0.1},
    }


def summary_of(*entries, lower_is_better=False):
    return {"conditions": list(entries), "utility": "score", "lower_is_better": lower_is_better}


CLEAN = [
    entry("clean", "-", None, 0.8),
    entry("clean", "-", "t50", 0.6, drop=0.25),
    entry("clean", "-", "jpeg", 0.7, drop=0.125),
]
ATTACKED = [
    entry("pgd", "none", None, 0.0),
    entry("pgd", "none", "t50", 0.5),
    entry("pgd", "none", "jpeg", 0.4),
    entry("pgd", "same", "t50", 0.3),
]


def examples_of(summary, caption="class 1"):
    arrays = {"original": np.zeros((2, 8, 16, 3), np.uint8)}
    for one in summary["conditions"]:
        arrays[f"shown:{one['key']}"] = np.full((2, 8, 16, 3), 7, np.uint8)
        arrays[f"decision:{one['key']}"] = np.array([caption] * 2)
    return arrays


def test_many_lines_share_colours_by_attack_and_dashes_by_view():
    lines = [("clean", "-"), *((f"attack{n}", sees) for n in range(4) for sees in ("none", "same", "t145"))]
    looks = styles(lines)
    assert len(set(looks.values())) == len(lines)
    assert len({looks["attack0", sees][0] for sees in ("none", "same", "t145")}) == 1
    assert len({looks[f"attack{n}", "same"][1] for n in range(4)}) == 1
    few = styles(lines[:4])
    assert len({colour for colour, _ in few.values()}) == 4


def test_many_lines_have_axes_for_each_view_with_the_clean_images_in_each():
    attacks = [entry(f"attack{n}", sees, "t50", n / 10) for n in range(5) for sees in ("none", "same")]
    attacks.append(entry("attack4", "t10", "t50", 7.0))  # far above all others
    figure = Figure()
    utility_curve(figure, summary_of(*CLEAN, *attacks))
    names = [{text.get_text() for text in axes.get_legend().get_texts()} for axes in figure.axes]
    attacked = {f"attack{n}" for n in range(5)}
    assert names == [{"clean"}, attacked | {"clean"}, attacked | {"clean"}, {"clean", "attack4"}]
    values = {line.get_label(): line.get_ydata().tolist() for line in figure.axes[1].lines}
    assert values["attack3"] == [0.3]
    assert all(bottom == 0 and top > 7 for bottom, top in (axes.get_ylim() for axes in figure.axes))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    sights = ("nothing of the defence", "the defence", "t10")
    assert titles == ["no attacker", *(f"attacker sees {sees}" for sees in sights)]


def points_of(axes, label):
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return np.transpose(line.get_data()).tolist()


def test_trade_off_has_a_point_for_each_defence_under_its_worst_attack():
    figure = Figure()
    trade_off(figure, summary_of(*CLEAN, *ATTACKED))
    (axes,) = figure.axes
    assert points_of(axes, "no defence") == [[0.0, 0.0]]
    assert points_of(axes, "noise level") == [[25.0, 0.3]]  # seen by the attacker: 0.3, not 0.5
    assert points_of(axes, "without noise level") == [[12.5, 0.4]]
    assert {text.get_text() for text in axes.texts} == {"no defence", "t=50", "jpeg"}
    low, high = axes.get_ylim()
    assert low < high


def test_trade_off_of_an_error_has_the_better_above():
    figure = Figure()
    worse = [
        entry("pgd", "none", None, 4.0),
        entry("pgd", "none", "t50", 2.0),
        entry("pgd", "same", "t50", 3.0),
    ]
    trade_off(figure, summary_of(*CLEAN[:2], *worse, lower_is_better=True))
    (axes,) = figure.axes
    assert points_of(axes, "noise level") == [[25.0, 3.0]]
    bottom, top = axes.get_ylim()
    assert bottom > top
    assert "lower is better" in axes.get_ylabel()


def test_labels_of_the_trade_off_hide_neither_each_other_nor_the_ticks():
    names = ["t10", "t50", "jpeg", "median", "blur", "bits"]
    cells = [entry("clean", "-", None, 0.8), entry("pgd", "none", None, 0.0)]
    for n, name in enumerate(names):
        cells += [entry("clean", "-", name, 0.8, drop=n / 100), entry("pgd", "same", name, 0.0)]
    figure = Figure(figsize=(6, 4), layout="constrained")
    trade_off(figure, summary_of(*cells))
    (axes,) = figure.axes
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in axes.texts]  # without the lines to their points
    assert len(boxes) == len(names) + 1
    assert not any(one.overlaps(other) for n, one in enumerate(boxes) for other in boxes[:n])
    assert all(axes.bbox.y0 <= box.y0 for box in boxes)


@pytest.mark.parametrize("lower_is_better", [False, True])
def test_heatmap_has_each_value_in_its_cell_and_the_better_is_brighter(lower_is_better):
    figure = Figure()
    view_heatmaps(figure, summary_of(*CLEAN, *ATTACKED, lower_is_better=lower_is_better))
    bare, pgd = figure.axes
    cells = {text.get_position(): text.get_text() for text in pgd.texts}
    assert cells == {(0.5, 0.5): "0.00", (1.5, 0.5): "0.50", (2.5, 0.5): "0.40", (1.5, 1.5): "0.30"}
    assert [label.get_text() for label in pgd.get_yticklabels()] == ["sees none", "sees same"]
    assert [label.get_text() for label in bare.get_yticklabels()] == ["clean"]
    mesh = pgd.collections[0]
    mesh.update_scalarmappable()
    colours = mesh.get_facecolors()  # by rows
    luminance = colours[:3, :3] @ (0.3, 0.59, 0.11)
    assert (luminance.argmax(), luminance.argmin()) == ((0, 1) if lower_is_better else (1, 0))
    assert colours[3, 3] == 0  # `same` where there is no defence: nothing


def test_examples_show_pictures_and_captions_in_their_place():
    summary = summary_of(*CLEAN, *ATTACKED)
    figure = Figure()
    example_panels(figure, summary, examples_of(summary), [("clean", "-"), ("pgd", "same")])
    (axes,) = figure.axes
    assert len(axes.images) == len(axes.texts) == 3 + 1
    left, right, bottom, top = axes.images[-1].get_extent()
    assert (left, right - left) == (
        1,
        pytest.approx(2 * (bottom - top)),
    )  # second column, twice as wide as high
    assert [label.get_text() for label in axes.get_yticklabels()] == ["clean", "pgd\nattacker\nsees same"]


def test_a_line_of_examples_is_as_high_as_what_it_shows():
    """Pictures are half as high as wide here, .06 apart; captions break before brackets."""
    summary = summary_of(*CLEAN, *ATTACKED)
    captions, pictures = examples_of(summary, "1 (wrong) 5 7 (wrong)"), examples_of(summary)
    pictures |= {name: pictures["original"] for name in pictures if name.startswith("decision:")}
    assert line_height(pictures) == pytest.approx(2 * 0.47 + 3 * 0.06)
    assert line_height(captions) == pytest.approx(0.47 + 0.1 + 3.5 * 0.15 + 3 * 0.06)
    assert line_height(examples_of(summary)) == pytest.approx(0.47 + 0.1 + 1.5 * 0.15 + 3 * 0.06)


def test_every_figure_is_written_as_png_and_as_svg_with_text(tmp_path):
    name = "a & b <c> $x_"  # as a user may call an attack; `$` would start a formula
    attacked = [{**one, "attack": name, "key": f"{name}/{one['key'][4:]}"} for one in ATTACKED]
    steps = [entry(f"steps={n}", "none", None, 0.8 - n / 10, drop=n / 10) for n in (1, 2, 4)]
    summary = summary_of(*CLEAN, *attacked, *steps)
    np.savez(tmp_path / "examples.npz", **examples_of(summary))
    (tmp_path / "figures").mkdir()
    written = draw_figures(summary, tmp_path / "examples.npz", tmp_path / "figures")
    names = ["utility", "examples", "overview", "trade_off", "heatmap", "sanity"]
    assert [path.name for path in written] == [f"{name}.png" for name in names]
    for path in written:
        with Image.open(path) as image:
            assert image.width > 600
        texts = [text.text for text in ET.parse(path.with_suffix(".svg")).iter(f"{SVG}text")]
        assert len(texts) > 3
    drawn = (tmp_path / "figures" / "heatmap.svg").read_text()
    assert "a &amp; b &lt;c&gt; $x_" in drawn


def draw(summary, folder):
    np.savez(folder / "examples.npz", **examples_of(summary))
    (folder / "figures").mkdir()
    return {path.stem: path for path in draw_figures(summary, folder / "examples.npz", folder / "figures")}


def notes_of(svg):
    """Return what the marks of a figure say, and the middle of each."""
    found = {}
    for rect in ET.parse(svg).iter(f"{SVG}rect"):
        if rect.get("class") == "says":
            x, y, width, height = (float(rect.get(name)) for name in ("x", "y", "width", "height"))
            found.setdefault(rect[0].text, []).append((x + width / 2, y + height / 2))
    return found


def test_marks_and_cells_of_an_svg_say_value_interval_and_condition(tmp_path):
    name = "a & b <c>"
    attacked = [{**one, "attack": name, "key": f"{name}/{one['key'][4:]}"} for one in ATTACKED]
    figures = draw(summary_of(*CLEAN, *attacked), tmp_path)
    seen = f"{name}, the attacker sees the defence\nt=50 σ=0.050\n{name}/same/t50"
    text = f"score 0.300 (95 % interval 0.250 to 0.350)\n{seen}"
    for figure in ("utility", "overview", "heatmap"):
        notes = notes_of(figures[figure].with_suffix(".svg"))
        keys = [said.splitlines()[-1] for said in notes]
        assert sorted(keys) == sorted(one["key"] for one in (*CLEAN, *attacked))
        assert text in notes
    notes = notes_of(figures["trade_off"].with_suffix(".svg"))
    assert f"{text}\non clean images 0.600 (0.550 to 0.650)" in notes
    assert len(notes) == 3 + 1  # a defence each, and the blind attack on one that was also seen


def test_notes_lie_over_their_marks(tmp_path):
    svg = draw(summary_of(*CLEAN, *ATTACKED), tmp_path)["utility"].with_suffix(".svg")
    marks = [(float(use.get("x")), float(use.get("y"))) for use in ET.parse(svg).iter(f"{SVG}use")]
    for places in notes_of(svg).values():
        for place in places:
            assert min(np.hypot(*np.subtract(place, mark)) for mark in marks) < 0.2


def test_notes_change_nothing_that_is_seen(tmp_path, monkeypatch):
    summary = summary_of(*CLEAN, *ATTACKED)
    (tmp_path / "with").mkdir()
    (tmp_path / "without").mkdir()
    drawn = draw(summary, tmp_path / "with")
    for figure in ("utility", "trade_off", "heatmap"):
        module = import_module(f"dds.reports.figures.{figure}")
        monkeypatch.setattr(module, "explain", lambda *given, **named: None)
    for name, path in draw(summary, tmp_path / "without").items():
        assert path.read_bytes() == drawn[name].read_bytes()
        assert not notes_of(path.with_suffix(".svg"))


def test_without_attacks_there_is_no_trade_off(tmp_path):
    summary = summary_of(*CLEAN)
    np.savez(tmp_path / "examples.npz", **examples_of(summary))
    written = draw_figures(summary, tmp_path / "examples.npz", tmp_path)
    assert {path.stem for path in written} == {"utility", "examples", "overview"}


def test_values_that_are_not_known_are_not_drawn():
    unknown = dict.fromkeys(("value", "low", "high"))
    cells = [{**one, "metrics": {"score": unknown}, "utility_drop": unknown} for one in CLEAN + ATTACKED]
    with rc_context(STYLE):
        for figured in (trade_off, view_heatmaps, utility_curve):
            figure = Figure()
            figured(figure, summary_of(*cells))
            figure.draw_without_rendering()
            shown = [text.get_text() for axes in figure.axes for text in axes.texts]
            assert shown == []
            notes = {note.text.splitlines()[0] for note in figure.findobj(Note)}
            assert notes == ({"score n/a"} if figured is view_heatmaps else set())
