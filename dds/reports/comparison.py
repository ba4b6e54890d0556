"""A page that lays runs over each other and needs nothing else."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from rich.console import Console

from dds.errors import InputError
from dds.reports.compared import ComparedRun, read_runs
from dds.reports.differences import differing_configs, remarks, warnings
from dds.reports.figures.certified import draw_certified_runs
from dds.reports.figures.comparison import Estimate, draw_comparison
from dds.reports.figures.style import quantity
from dds.reports.page import inline_svg, templates
from dds.reports.paired import pair_up, shared_conditions, unpaired
from dds.reports.ranking import describe, rank
from dds.reports.text import cost
from dds.results.layout import defence_name, number
from dds.results.radius_curves import drawn_curves, radius_curves
from dds.results.standing import RULE
from dds.runs.run_folder import RunFolder
from dds.telling import told
from dds.whole_file import whole_file, writing

_SETTINGS = 12  # lines; more of them say nothing at a glance


def write_comparison(folders: Sequence[RunFolder], path: Path) -> Path:
    """Lay runs over each other on one page; its figures also lie beside it, in a folder of its name.

    Args:
        folders: Of the runs, two or more; they may be of different tasks.
        path: The page, e.g. `comparison.html`.

    Returns:
        The page.

    Raises:
        InputError: If there are fewer than two runs, or one is there twice or cannot be used; or if the page
            cannot be written.
    """
    check_place(path)
    runs = read_runs(folders)
    write_compared(runs, path)
    return path


def write_compared(runs: Sequence[ComparedRun], path: Path, console: Console | None = None) -> None:
    """Write the page of runs that are read already, see `write_comparison`; say how far it is."""
    for run, key in told(
        shared_conditions(runs), "Resampled data sets", console or Console(quiet=True), "conditions"
    ):
        run.utility(key)
    drawn = _draw(runs, path.with_suffix(""))
    with whole_file(path) as file:
        file.write(_render(runs, drawn, path.stem).encode())


def percent(share: float | None, unit: str = " %") -> str:
    """Write a share that is given in percent."""
    return "n/a" if share is None else f"{share:.1f}{unit}"


def points(share: float | None, unit: str = "") -> str:
    """Write a difference of shares, in percentage points."""
    return "n/a" if share is None else f"{share:+z.1f}{unit}"


def signed(difference: float | None) -> str:
    """Write a difference of a metric."""
    written = number(difference)
    return f"+{written}" if difference is not None and difference > 0 else written


def check_place(path: Path) -> None:
    """Raise an InputError if there can be no page of that name."""
    if path.suffix not in (".html", ".htm"):
        raise InputError(f"--out={path}; expected a name that ends in .html.")
    if not path.absolute().parent.is_dir():
        raise InputError(f"--out={path}: there is no folder {path.parent}. Make it, or name another.")
    if path.is_dir():
        raise InputError(f"--out={path} is a folder; expected the name of a page.")


def _draw(runs: Sequence[ComparedRun], folder: Path) -> dict[str, Markup]:
    shares = {run.name: run.outcomes for run in runs}
    alike = len({(run.task, run.summary["utility"]) for run in runs}) == 1
    utilities = {run.name: run.utilities() for run in runs} if alike else None
    certified = {run.name: drawn_curves(radius_curves(run.summary)) for run in runs}
    with writing(folder):
        folder.mkdir(exist_ok=True)
        paths = draw_comparison(shares, utilities, quantity(runs[0].summary), folder)
        paths += draw_certified_runs(certified, folder)
    return {path.stem: inline_svg(path.with_suffix(".svg")) for path in paths}


def _render(runs: Sequence[ComparedRun], drawn: dict[str, Markup], folder: str) -> str:
    settings, rankings = differing_configs(runs), rank(runs)
    page = templates().get_template("comparison.html.j2")
    return page.render(
        runs=runs,
        percent=percent,
        points=points,
        signed=signed,
        certified=[(run, curve) for run in runs for curve in radius_curves(run.summary)],
        rows=[_facts(run) for ranking in rankings for run in ranking.order],
        rankings=rankings,
        outcomes=[(run, outcome) for run in runs for outcome in run.outcomes],
        defence_name=defence_name,
        figures=drawn,
        folder=folder,
        rule=RULE,
        warnings=warnings(runs),
        remarks=remarks(runs),
        settings=settings if len(settings) <= _SETTINGS else {},
        hidden=len(settings) if len(settings) > _SETTINGS else 0,
        pairs=pair_up(runs),
        unpaired=list(unpaired(runs)),
        conditions=_conditions(runs),
    )


def _facts(run: ComparedRun) -> dict[str, Any]:
    """Return what the table of the runs says of one."""
    summary, comparison = run.summary, run.comparison
    best = next(iter(comparison.ranked(named=False)), None)
    return {
        "run": run,
        "purifier": describe(run.config["protocol"].get("purifier")),
        "clean": comparison.utility(comparison.undefended.clean),
        "best": best,
        "cost": best and cost(summary, best.clean),
        "kept": best and best.worst and comparison.utility(best.worst),
        "share": best and best.worst and run.kept(best.worst)["value"],
    }


def _conditions(runs: Sequence[ComparedRun]) -> dict[str, list[Estimate | None]]:
    """Return what each run keeps under each condition; None where it was not run."""
    entries = [{entry["key"]: entry for entry in run.summary["conditions"]} for run in runs]
    keys = dict.fromkeys(key for one in entries for key in one)
    return {
        key: [run.kept(one[key]) if key in one else None for run, one in zip(runs, entries, strict=True)]
        for key in keys
    }
