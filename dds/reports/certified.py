"""What is guaranteed, and what attacks left at the same radii, in tables and words."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from dds.certificates import linf_radius
from dds.results.bracket import contradictions
from dds.results.radius_curves import score_name


def certificate_table(certificates: Mapping[str, Any]) -> Table:
    """Show what is guaranteed: a row for each level and score, a column for each radius.

    Args:
        certificates: Those of `summary.json`.
    """
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for entry in certificates["entries"]:
        level = f"{entry['defence']} σ={entry['sigma']:.3f}"
        groups.setdefault((level, score_name(entry)), []).append(entry)
    sure = f"{1 - certificates['alpha']:.10g}"
    table = Table(title=f"Certified, L2, at confidence {sure}: {certificates['draws']} draws an image")
    for name in ("defence", "score", "clean"):
        table.add_column(name, justify="right" if name == "clean" else "left")
    for place in range(max(map(len, groups.values()), default=0)):
        table.add_column(f"radius {place + 1}", justify="right")
    for (level, score), group in groups.items():
        table.add_row(level, score, f"{group[0]['mean']:.3f}", *map(_cell, group))
    return table


def _cell(entry: Mapping[str, Any]) -> str:
    attacked = [f"attacked {entry['attacked']:.3f}"] if "attacked" in entry else []
    return "\n".join([f"{entry['value']:.3f}", *attacked, f"r={entry['radius']:.3g}"])


def certificate_lines(certificates: Mapping[str, Any]) -> list[str]:
    """Say in words what the values speak of, what is not certified, and whether attacks agree."""
    kinds = [f"{kind}: {meaning}." for kind, meaning in certificates["statements"].items()]
    refused = [f"{name}: {reason}" for name, reason in certificates["refused"].items()]
    return [
        *kinds,
        *_draws_taken(certificates),
        *refused,
        *_linf(certificates),
        *_bracket(certificates),
    ]


def _draws_taken(certificates: Mapping[str, Any]) -> list[str]:
    """Say how many draws were enough where an image is asked until it is decided."""
    if certificates.get("max_draws") is None:
        return []
    entries = [entry for entry in certificates["entries"] if isinstance(entry.get("draws"), float)]
    taken = [
        f"{entry['defence']} {entry['score']} r={entry['radius']:.3g} {entry['draws']:.0f}"
        for entry in entries
    ]
    most = certificates["max_draws"]
    return [f"Draws that an image took until it was decided, of {most}: {', '.join(taken)}."]


def _linf(certificates: Mapping[str, Any]) -> Iterator[str]:
    """Say what an L2 radius is worth in L-infinity, the norm of most attacks."""
    if "pixels" in certificates and certificates["entries"]:
        height, width = certificates["pixels"]
        radius = max(entry["radius"] for entry in certificates["entries"])
        covered, unit = linf_radius(radius, height, width), linf_radius(1, height, width)
        yield (
            f"L-infinity: on {height}x{width} pixels a radius r covers {unit:.3g} r; the largest here, "
            f"r={radius:.3g}, covers {255 * covered:.2g}/255, and 8/255 would need r={8 / 255 / unit:.3g}."
        )


def _bracket(certificates: Mapping[str, Any]) -> Iterator[str]:
    if "bracket" not in certificates:
        return
    how, entries = certificates["bracket"], [e for e in certificates["entries"] if "attacked" in e]
    images = max(entry["of"] for entry in entries)
    disagree = {image for entry in entries for image in entry["disagree"]}
    yield (
        f"Attacked by L2 PGD through the purifier at each radius, {how['draws']} draws an image: "
        f"{images - len(disagree)} of {images} images agree with the certificates of kind score, at all "
        f"levels and radii. One would disagree if an upper bound of its score under attack at confidence "
        f"1 - {how['alpha']:.2g}, a part of alpha for each of {how['comparisons']} comparisons, were below."
    )
    for line in contradictions(certificates):
        yield f"CONTRADICTED: {line}."
