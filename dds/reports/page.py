"""`report.html`: a run on one page that needs nothing else."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

import dds.tasks
from dds.batch import UNTOUCHED
from dds.reports.certified import certificate_lines
from dds.reports.classes import ClassScores, class_scores
from dds.reports.failures import Failure, worst_images
from dds.reports.figures.draw import draw_figures
from dds.reports.figures.style import INK
from dds.reports.pictures import Panel, Picture, Pictures, size
from dds.reports.text import cost, headlines, paragraphs
from dds.results.layout import Layout, Line, Summary, line_name, number, with_interval
from dds.results.notes import notes
from dds.results.radius_curves import radius_curves
from dds.results.sanity import findings
from dds.results.source import examples_file, gaps, open_samples, read_pictures, read_samples
from dds.results.standing import RULE, Comparison
from dds.runs.run_folder import RunFolder
from dds.whole_file import writing

if TYPE_CHECKING:
    from jinja2 import Environment

_PICTURES = 3_000_000  # characters; a page of 5 MB still goes by mail
_FAILURES = 5


def write_report(folder: RunFolder, summary: Summary) -> Path:
    """Draw the figures of a run and write its report, and for segmentation the scores of each class.

    Args:
        folder: The run's folder.
        summary: The content of its `summary.json`.

    Returns:
        The file, `report.html`.

    Raises:
        InputError: If the folder lacks a file, or cannot be written. `read_run` checks more.
    """
    with writing(folder.figures):
        folder.figures.mkdir(exist_ok=True)
        figures = draw_figures(summary, examples_file(folder), folder.figures)
    drawn = {path.stem: inline_svg(path.with_suffix(".svg")) for path in figures}
    classes = class_scores(open_samples(folder, summary), summary)
    if classes is not None:
        folder.write_text(folder.classes, classes.to_csv())
    folder.write_text(folder.report, _render(folder, summary, drawn, classes))
    return folder.report


def templates(**filters: Callable[..., str]) -> "Environment":
    """Return what turns templates into pages, with filters of its own."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # takes a while to import

    pages = Environment(
        loader=PackageLoader("dds.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    pages.filters |= {"number": number, "with_interval": with_interval, **filters}
    return pages


def inline_svg(path: Path) -> Markup:
    """Return a figure for a page: with names of its own inside, its width, and the page's text colour."""
    svg = path.read_text()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'width="([\d.]+pt)"', r'\g<0> style="--width: \1"', svg, count=1)
    svg = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{path.stem}-", svg)
    return Markup(svg.replace(INK, "currentColor"))  # matplotlib has escaped the names


def _render(
    folder: RunFolder, summary: Summary, drawn: Mapping[str, Markup], classes: ClassScores | None
) -> str:
    comparison = Comparison(summary)
    pictures = Pictures(read_pictures(folder), comparison.layout)
    page = templates(line_name=_short_name).get_template("report.html.j2")
    return page.render(
        name=f"{folder.path.parent.name}/{folder.path.name}",
        summary=summary,
        comparison=comparison,
        layout=Layout(summary["conditions"]),
        rule=RULE,
        best=next((best.name for best in comparison.ranked(named=False)), None),
        cost=lambda entry: cost(summary, entry),
        paragraphs=paragraphs(summary, comparison),
        headlines=headlines(summary, comparison),
        metrics=list(dict.fromkeys(name for entry in summary["conditions"] for name in entry["metrics"])),
        figures=drawn,
        folder=folder.figures.name,
        panels=list(_panels(pictures, comparison)),
        pictures=pictures,
        classes=classes,
        failures=_failures(folder, summary, comparison, pictures),
        gaps=gaps(folder, summary),
        notes=notes(summary),
        findings=findings(summary),
        certified=radius_curves(summary),
        guarantees=certificate_lines(summary["certificates"]) if "certificates" in summary else [],
        config=folder.config.read_text(),
    )


def _short_name(line: Line) -> str:
    return line_name(line).replace("attacker ", "")


def _panels(pictures: Pictures, comparison: Comparison) -> Iterator[list[Panel]]:
    """Return the panels of as many example images as the page has room for."""
    room = _PICTURES
    for image in range(len(pictures)):
        panels = pictures.panels(image, comparison.telling_lines())
        room -= size(panels)
        if room < 0:
            return
        yield panels


def _failures(
    folder: RunFolder, summary: Summary, comparison: Comparison, pictures: Pictures
) -> dict[str, list[dict[str, Any]]]:
    """Return the worst images, and those with pictures, with no defence and behind the best one."""
    score = summary.get("score") or getattr(getattr(dds.tasks, summary["task"], None), "score", None)
    rows = read_samples(folder, [name for name in (score, "loss") if name])
    if score is None or score not in rows.column_names:
        return {}
    found = {}
    for standing in (comparison.undefended, *comparison.ranked(named=False)[:1]):
        ranked = enumerate(worst_images(rows, summary, score, standing.clean["defence"]), 1)
        found[standing.name] = [
            {"rank": rank, **asdict(one), "pictures": _shown(one, pictures)}
            for rank, one in ranked
            if rank <= _FAILURES or one.index in pictures.indices
        ]
    return {defence: worst for defence, worst in found.items() if worst}


def _shown(failure: Failure, pictures: Pictures) -> list[tuple[str, Picture]]:
    """Return the image before and after, and what the task said of both."""
    if failure.index not in pictures.indices or not {UNTOUCHED, failure.key} <= pictures.keys:
        return []
    image = pictures.indices.index(failure.index)
    stages = (
        ("original", UNTOUCHED, "attacked"),
        ("answer", UNTOUCHED, "decision"),
        ("what the task sees", failure.key, "shown"),
        ("answer under attack", failure.key, "decision"),
    )
    return [(stage, pictures.picture(image, key, what, stage)) for stage, key, what in stages]
