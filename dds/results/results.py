from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dds.errors import InputError
from dds.results.source import read_run, read_samples
from dds.runs.places import named_by_url, open_folder
from dds.runs.run_folder import RunFolder

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Results:
    """What a run has left.

    Attributes:
        folder: The run's folder, `samples.parquet` and `report.html` among others; of a run on object
            storage a copy, which goes with the results.
        summary: The content of `summary.json`.
    """

    folder: Path
    summary: Mapping[str, Any]
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
        """Show the utility in a notebook."""
        names = [f"{self.summary['utility']}{end}" for end in ("", "_low", "_high")]
        shown: str = self.table[["draws", *names, "utility_drop"]].to_html(float_format="{:.3f}".format)
        return shown


def _row(entry: Mapping[str, Any]) -> dict[str, Any]:
    row = {name: value for name, value in entry.items() if name not in ("metrics", "utility_drop")}
    for name, value in {**entry["metrics"], "utility_drop": entry["utility_drop"]}.items():
        ends = value or dict.fromkeys(("value", "low", "high"))
        row |= {name: ends["value"], f"{name}_low": ends["low"], f"{name}_high": ends["high"]}
    return row
