from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dds.errors import InputError
from dds.numbers import number_of_images
from dds.results.layout import Layout, line_name, utility_name, with_interval
from dds.results.source import read_run, read_samples
from dds.runs.places import named_by_url, open_folder
from dds.runs.run_folder import RunFolder

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = ("utility", "certified")
"""The figures that a notebook shows."""


@dataclass(frozen=True)
class Results:
    """What a run has left.

    Attributes:
        folder: The run's folder, `samples.parquet` and `report.html` among others; of a run on object
            storage a copy, which goes with the results.
        summary: The content of `summary.json`.
    """

    folder: Path
    summary: Mapping[str, Any] = field(repr=False)
    _holds: RunFolder | None = field(default=None, repr=False, compare=False)

    @classmethod
    def read(cls, folder: str | Path) -> "Results":
        """Read the folder of a run, or what lies below its URL, also of one that was interrupted.

        Raises:
            InputError: If it is not whole, or holds files of several runs.
        """
        run = open_folder(folder)
        with named_by_url():
            run.check()
            run.look()
            return cls(run.path, read_run(run), run)

    @property
    def table(self) -> "pd.DataFrame":
        """A row for each condition, by its key: what it is, every metric and its 95 % interval.

        The ends of `<metric>` are `<metric>_low` and `<metric>_high`.
        """
        import pandas as pd  # takes seconds to import

        return pd.DataFrame([_row(entry) for entry in self.summary["conditions"]]).set_index("key")

    @property
    def samples(self) -> "pd.DataFrame":
        """A row for each image x condition x draw."""
        rows: pd.DataFrame = read_samples(RunFolder(self.folder)).drop_columns("part").to_pandas()
        return rows

    @property
    def certificates(self) -> "pd.DataFrame":
        """A row for each image x noise level x kind x score x radius of what was certified.

        Raises:
            InputError: If nothing was.
        """
        import pandas as pd  # takes seconds to import

        path = RunFolder(self.folder).certificates
        if not path.is_file():
            raise InputError(f"{self.folder} holds no certificates; expected a run of dds.certify.")
        return pd.read_parquet(path)

    @property
    def figures(self) -> dict[str, Path]:
        """The figures by name, PNG files; each has an SVG beside it."""
        return {path.stem: path for path in sorted(RunFolder(self.folder).figures.glob("*.png"))}

    @property
    def report(self) -> Path:
        """The page to read, `report.html`."""
        return RunFolder(self.folder).report

    def _repr_html_(self) -> str:
        """Show in a notebook the utility of attack and view x defence, its figures, and where the page is."""
        import pandas as pd  # takes seconds to import

        summary, layout = self.summary, Layout(self.summary["conditions"])
        rows = [[_cell(entry, summary["utility"]) for entry in layout.row(line)] for line in layout.lines]
        table = pd.DataFrame(rows, [line_name(line) for line in layout.lines], layout.defences).to_html()
        figures = [_image(path) for name, path in self.figures.items() if name in _SHOWN]
        page = escape(str(self.report)) if self.report.is_file() else ""
        link = f'<p>The page to read: <a href="{page}">{page}</a></p>' if page else ""
        return "\n".join([f"<p>{escape(_title(summary))}</p>", table, *figures, link])


def _title(summary: Mapping[str, Any]) -> str:
    better = "lower" if summary["lower_is_better"] else "higher"
    what = f"{summary['task']} on {number_of_images(summary['images'])} of {summary['data']}"
    missing = f" Not measured yet: {summary['missing']}" if "missing" in summary else ""
    return f"{what}: {utility_name(summary)}, {better} is better, with 95 % intervals over images.{missing}"


def _cell(entry: Mapping[str, Any] | None, utility: str) -> str:
    return "" if entry is None else with_interval(entry["metrics"][utility])


def _image(path: Path) -> str:
    data = b64encode(path.read_bytes()).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{path.stem}" style="max-width: min(100%, 40rem)">'


def _row(entry: Mapping[str, Any]) -> dict[str, Any]:
    row = {name: value for name, value in entry.items() if name not in ("metrics", "utility_drop")}
    for name, value in {**entry["metrics"], "utility_drop": entry["utility_drop"]}.items():
        ends = value or dict.fromkeys(("value", "low", "high"))
        row |= {name: ends["value"], f"{name}_low": ends["low"], f"{name}_high": ends["high"]}
    return row
