"""Make the pages of the gallery from run folders: `python docs/make_gallery.py runs/seg_scenes/gallery …`."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from PIL import Image

from dds.command_line import find_config
from dds.errors import InputError
from dds.reports.text import paragraphs
from dds.results import Results
from dds.results.layout import Layout, line_name, number, utility_name
from dds.results.notes import notes
from dds.results.standing import Comparison

GALLERY = Path(__file__).parent / "gallery"
_SHOWN = {
    "examples": "One image under each condition: what the task saw, and what it answered.",
    "utility": "Utility over the noise level, for each attack and attacker's view, with 95 % intervals.",
    "trade_off": "Clean utility lost against utility under the worst attack, one point a defence.",
    "heatmap": "Each attack, each view of the attacker and each defence.",
    "certified": "What is certified, below, and what attacks leave, above, over the L2 radius.",
    "sanity": "Strength of the attacks over steps, eps and noise draws.",
}


def make_page(run: str) -> Path:
    """Write the page of a run and copy its figures beside it.

    Args:
        run: Its folder, `<experiment>/<name>`.

    Returns:
        The page, `<experiment>.md`.
    """
    results = Results.read(run)
    experiment = results.folder.resolve().parent.name
    beside = GALLERY / experiment
    beside.mkdir(parents=True, exist_ok=True)
    for name in _shown(results):
        figure = Image.open(results.figures[name])
        figure.save(beside / f"{name}.webp", lossless=True, method=6)  # 40 % of PNG
    page = GALLERY / f"{experiment}.md"
    page.write_text("\n".join(_lines(results, experiment)) + "\n")
    return page


def _shown(results: Results) -> list[str]:
    return [name for name in _SHOWN if name in results.figures]


def _lines(results: Results, experiment: str) -> Iterator[str]:
    summary = results.summary
    yield from (f"# {summary['task']}: `{experiment}`", "")
    yield from ("<!-- not run: minutes to half an hour -->", "```bash")
    yield from (_command(experiment, results.folder / "config.yaml"), "```", "")
    for name in _shown(results):
        yield from (f"![{_SHOWN[name]}]({experiment}/{name}.webp)", "", f"*{_SHOWN[name]}*", "")
    for question, sentences in paragraphs(summary, Comparison(summary)).items():
        yield from (f"## {question}", "", *(f"- {one}" for one in sentences if not _of_this_machine(one)), "")
    if doubts := notes(summary):
        yield from ("## To be read with care", "", *(f"- {one}" for one in doubts), "")
    yield from _table(results)


def _command(experiment: str, config: Path) -> str:
    """Return what measures as many images as the run of this configuration did."""
    given, own = (
        yaml.safe_load(path.read_text())["data"]["init_args"].get("limit")
        for path in (config, find_config(f"{experiment}.yaml"))
    )
    limit = "" if given == own else f" --data.limit={given}"
    return f"dds evaluate --config {experiment}.yaml{limit}"


def _of_this_machine(sentence: str) -> bool:
    return sentence.startswith(("The evaluation took", "Of the attacked images"))


def _table(results: Results) -> Iterator[str]:
    summary, layout = results.summary, Layout(results.summary["conditions"])
    utility = summary["utility"]
    yield from (f"## {utility_name(summary)}", "")
    yield f"| | {' | '.join(layout.defences)} |"
    yield f"| --- |{' --- |' * len(layout.defences)}"
    for line in layout.lines:
        entries = layout.row(line)
        cells = (number(one["metrics"][utility]["value"]) if one else "" for one in entries)
        yield f"| {line_name(line)} | {' | '.join(cells)} |"


def main(runs: Sequence[str]) -> None:
    """Make a page of each run."""
    try:
        for run in runs:
            print(make_page(run))
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
