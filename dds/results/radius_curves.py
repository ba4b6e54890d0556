"""What is certified over the radius, as figures, pages and dashboards show it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dds.results.layout import Entry, defence_name


@dataclass(frozen=True)
class RadiusCurve:
    """One score of one kind at one noise level.

    Attributes:
        entries: Those of `summary.json`'s certificates, by rising radius.
    """

    entries: Sequence[Entry]

    @property
    def first(self) -> Entry:
        """The smallest radius; what all radii have in common can be read there."""
        return self.entries[0]

    @property
    def level(self) -> str:
        """The noise level as people read it."""
        return defence_name(self.first)

    @property
    def row(self) -> str:
        """The score as people read it."""
        return score_name(self.first)

    @property
    def certified(self) -> list[tuple[float, float]]:
        """Radii and what is certified at each."""
        return [(entry["radius"], entry["value"]) for entry in self.entries]

    @property
    def attacked(self) -> list[tuple[float, float]]:
        """Radii that were attacked, and the mean under each attack."""
        return [(entry["radius"], entry["attacked"]) for entry in self.entries if "attacked" in entry]


def score_name(entry: Entry) -> str:
    """Name what is certified, with its kind where that is another than `score`: `iou (vote)`."""
    score, kind = entry["score"], entry["kind"]
    return str(score) if kind == "score" else f"{score} ({kind})"


def radius_curves(summary: Mapping[str, Any]) -> list[RadiusCurve]:
    """Return the curves of a run, as its table has them.

    Args:
        summary: The content of `summary.json`; without certificates there are none.
    """
    groups: dict[tuple[str, ...], list[Entry]] = {}
    for entry in summary.get("certificates", {}).get("entries", []):
        groups.setdefault((entry["defence"], entry["score"], entry["kind"]), []).append(entry)
    return [RadiusCurve(sorted(group, key=lambda entry: entry["radius"])) for group in groups.values()]


def drawn_curves(curves: Sequence[RadiusCurve]) -> list[RadiusCurve]:
    """Return those that figures show: of kind `score`, which attacks bracket; of votes if there are none."""
    return [curve for curve in curves if curve.first["kind"] == "score"] or list(curves)


def named_radii(curves: Sequence[RadiusCurve]) -> Iterator[tuple[str, Entry]]:
    """Give each radius a name that is the same at all levels: `0.25sigma` if all have these, else `r0.1`."""
    ratios = [[f"{entry['radius'] / entry['sigma']:.4g}sigma" for entry in one.entries] for one in curves]
    alike = all(one == ratios[0] for one in ratios)
    for curve, names in zip(curves, ratios, strict=True):
        for name, entry in zip(names, curve.entries, strict=True):
            yield name if alike else f"r{entry['radius']:.4g}", entry
