"""The results on Weights & Biases: curves over the noise level, tables, pictures, figures, the report."""

from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from itertools import islice
from typing import Any

import wandb
from PIL import Image

from dds.batch import UNTOUCHED
from dds.loggers.dashboard import beside_curves, curves, headline, noise_level, values
from dds.reports.pictures import Picture, Pictures
from dds.results.layout import Entry, Line, Summary, is_attacked, line_name
from dds.results.radius_curves import radius_curves
from dds.results.source import read_pictures
from dds.results.standing import Comparison
from dds.runs.run_folder import RunFolder

_PICTURED = 100  # rows of the table of examples, of up to 5 pictures of at most 256 pixels
_STAGES = {"attacked": "attacked", "perturbation": "moved", "task saw": "shown", "decision": "decision"}


def fill_run(run: wandb.Run, folder: RunFolder, summary: Summary) -> None:
    """Put all that people look at into a W&B run.

    `noise_level` is the step of every metric that has no other, so that a dashboard's default panels are
    curves over it; `sigma` is logged in the same rows, so that any panel's x axis can be set to it.

    Args:
        run: A run that is not finished.
        folder: The run's folder.
        summary: The content of `summary.json`.
    """
    comparison = Comparison(summary)
    run.define_metric("noise_level")
    run.define_metric("sigma")
    run.define_metric("*", step_metric="noise_level")
    *steps, last = curves(summary)
    for step in steps:
        run.log(step)
    run.log({**last, **headline(comparison), **_media(folder, summary, comparison)})
    run.summary.update(beside_curves(summary))
    run.summary.update({name: summary.get(name) for name in ("seconds", "calls")})


def _media(folder: RunFolder, summary: Summary, comparison: Comparison) -> dict[str, Any]:
    figures = sorted(folder.figures.glob("*.png"))
    pictures = Pictures(read_pictures(folder), comparison.layout)
    return {
        **{f"figures/{path.stem}": wandb.Image(str(path)) for path in figures},
        **_charts(comparison),
        **_over_radius(summary),
        "conditions": _table([{**_stated(entry), **values(entry)} for entry in summary["conditions"]]),
        "examples": _table(list(islice(_examples(pictures, comparison), _PICTURED))),
        "report": wandb.Html(str(folder.report), inject=False),
    }


def _charts(comparison: Comparison) -> dict[str, Any]:
    """Return the utility over both axes: of clean images and, for each sight, under the worst attack."""
    points = {line_name(line): _points(comparison, line) for line in comparison.telling_lines()}
    lines = {name: found for name, found in points.items() if found}
    ys = [[value for _, value in found] for found in lines.values()]
    charts = {}
    for axis in ("noise_level", "sigma"):
        xs = [[place[axis] for place, _ in found] for found in lines.values()]
        title = f"{comparison.metric} over {axis}"
        charts[f"utility/over_{axis}"] = wandb.plot.line_series(xs, ys, list(lines), title, axis)
    return charts


def _over_radius(summary: Summary) -> dict[str, Any]:
    """Return a chart for each noise level and score, certified and attacked, and the table of all of them."""
    found, rows = {}, []
    for curve in radius_curves(summary):
        clean = [(0.0, curve.first["mean"])]
        lines = {"certified": curve.certified, "attacked": clean + curve.attacked if curve.attacked else []}
        known = {name: line for name, line in lines.items() if line}
        xs, ys = ([[point[axis] for point in line] for line in known.values()] for axis in (0, 1))
        title = f"{curve.row} at {curve.level} over the L2 radius"
        place = f"{curve.row}/{curve.first['defence']}"
        found[f"certified_over_radius/{place}"] = wandb.plot.line_series(xs, ys, list(known), title, "radius")
        rows += [{name: it for name, it in e.items() if name != "disagree"} for e in curve.entries]
    return {**found, "certificates": _table(rows)} if rows else {}


def _points(comparison: Comparison, line: Line) -> list[tuple[dict[str, float], float]]:
    entries = [entry for entry in comparison.layout.row(line) if entry]
    points = [(noise_level(entry), comparison.utility(entry)["value"]) for entry in entries]
    return [(place, value) for place, value in points if place and value is not None]


def _table(rows: Sequence[Mapping[str, Any]]) -> wandb.Table:
    columns: list[Any] = list(dict.fromkeys(name for row in rows for name in row))
    data: list[Any] = [[row.get(name) for name in columns] for row in rows]
    return wandb.Table(columns=columns, data=data)


def _stated(entry: Entry) -> dict[str, Any]:
    """Return what a condition is; without a defence it is at noise level 0."""
    place = noise_level(entry)
    return {
        **{name: entry[name] for name in ("key", "attack", "attacker_sees")},
        "defence": entry["defence"] or "t0",
        "t": place.get("noise_level"),
        "sigma": place.get("sigma"),
        "draws": entry["draws"],
    }


def _examples(pictures: Pictures, comparison: Comparison) -> Iterator[dict[str, Any]]:
    """Return, image by image, what became of it under each condition of which the report has pictures."""
    for image in range(len(pictures)):
        original = _cell(pictures.picture(image, UNTOUCHED, "attacked", "original"))
        place = pictures.indices[image] if pictures.indices else image
        for line in comparison.telling_lines():
            for entry in comparison.layout.row(line):
                if entry and entry["key"] in pictures.keys:
                    stages = _stages(pictures, image, entry)
                    yield {"image": place, **_stated(entry), "original": original, **stages}


def _stages(pictures: Pictures, image: int, entry: Entry) -> dict[str, Any]:
    captions = {stage: stage for stage in _STAGES} | {"perturbation": f"perturbation × {pictures.factor}"}
    cells: dict[str, Any] = {
        stage: _cell(pictures.picture(image, entry["key"], what, captions[stage]))
        for stage, what in _STAGES.items()
    }
    return cells if is_attacked(entry) else cells | {"perturbation": None}


def _cell(picture: Picture) -> wandb.Image | str:
    """Turn a picture of the report into one of W&B; a caption stays text."""
    if picture.uri is None:
        return picture.alt
    _, data = picture.uri.split(",", 1)
    return wandb.Image(Image.open(BytesIO(b64decode(data))), caption=picture.alt)
