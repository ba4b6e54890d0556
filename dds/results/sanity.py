"""Whether attacks work as they should: what more steps, a larger eps and more noise draws change."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from dds.protocol.conditions import CLEAN, UNSEEN
from dds.results.layout import defence_name, is_bracket

_NAME = re.compile(r"(\w+)=(\d+(?:\.\d+)?)")
_SETTINGS = {
    "steps": "steps",
    "eps": "eps (pixels in [0, 1])",
    "eps255": "eps (1/255)",
    "eot": "noise draws for each gradient (eot)",
}
_BUDGETS = ("eps", "eps255")
_LITTLE = 0.05  # relative gain
_BROKEN = {"attack_success": 0.99, "utility_drop": 0.9}  # below 1: a draw of a random defence may be lucky
_MASKED = "the attack or its gradient is broken (gradient masking?), or eps is still too small."

Values = Mapping[str, float]
"""A metric's `value` and the ends `low` and `high` of its interval."""

Points = list[tuple[float, Values]]
"""Values of a setting, rising, and a measure at each."""


@dataclass(frozen=True)
class Curve:
    """What an attack does as one of its settings grows.

    Attributes:
        setting: Name of the setting, e.g. `steps`.
        attacker_sees: Name of the attacker's sight.
        defence: The defence, as people read it.
        points: The setting's value and the condition's entry in `summary.json`, by rising value.
    """

    setting: str
    attacker_sees: str
    defence: str
    points: list[tuple[float, Mapping[str, Any]]]

    @property
    def axis(self) -> str:
        """The setting as people read it, with its unit."""
        return _SETTINGS.get(self.setting, self.setting)

    @property
    def line(self) -> str:
        """The defence and the attacker's sight as people read them."""
        return f"{self.defence}, attacker sees {self.attacker_sees}"

    @property
    def sees_all(self) -> bool:
        """Whether the attacker sees the defence in use, so that nothing but the attack itself can fail."""
        return self.attacker_sees in ("same", "fixed_noise", self.points[0][1]["defence"] or "none")

    def values(self, measure: str) -> Points:
        """Return a measure along the curve, where it is known."""
        known = [(number, read(entry, measure)) for number, entry in self.points]
        return [(number, values) for number, values in known if values is not None]


def find_curves(summary: Mapping[str, Any]) -> list[Curve]:
    """Find the curves of a run: attacks named `<setting>=<number>`, with two numbers of a setting or more.

    Args:
        summary: The content of `summary.json`.

    Returns:
        A curve for each setting, attacker's sight and defence, in the order of the run.
    """
    found: dict[tuple[str, str, str], dict[float, Mapping[str, Any]]] = {}
    for entry in summary["conditions"]:
        name = _NAME.fullmatch(entry["attack"])
        if name and entry["attacker_sees"] != UNSEEN:
            line = (name[1], entry["attacker_sees"], defence_name(entry))
            found.setdefault(line, {})[float(name[2])] = entry
    return [Curve(*line, sorted(points.items())) for line, points in found.items() if len(points) > 1]


def without_curves(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the summary without the conditions that are points of curves, over a setting or a radius."""
    points = {entry["key"] for curve in find_curves(summary) for _, entry in curve.points}
    points |= {entry["key"] for entry in summary["conditions"] if is_bracket(entry)}
    return {**summary, "conditions": [entry for entry in summary["conditions"] if entry["key"] not in points]}


def measures(summary: Mapping[str, Any]) -> dict[str, str]:
    """Return what curves are judged by, and how people call it; each is larger for a stronger attack.

    First the loss, where it is known; last what becomes of the answers: the attack's success, or where no
    answer is right or wrong, the utility that is lost.
    """
    known = {name for entry in summary["conditions"] for name in entry["metrics"]}
    called = {"loss": "loss"} if "loss" in known else {}
    if "attack_success" in known:
        return {**called, "attack_success": "attack success"}
    change = "growth" if summary["lower_is_better"] else "loss"
    return {**called, "utility_drop": f"relative {change} of {summary['utility']}"}


def read(entry: Mapping[str, Any], measure: str) -> Values | None:
    """Return a measure of a condition; None where it is not known."""
    values = {**entry["metrics"], "utility_drop": entry["utility_drop"]}.get(measure)
    return None if values is None or None in values.values() else values


def findings(summary: Mapping[str, Any]) -> list[str]:
    """Say in words what a run shows of its attacks: `fine`, `unclear` or `WARNING`.

    Judged are attackers who see the defence in use. More of a setting may not make a weaker attack, the
    largest eps has to break every image, and more steps or noise draws must no longer help much, unless every
    image is broken already; else the attack is too short, or its gradient is masked (Athalye et al., ICML
    2018, list such signs). Such a sign is also an attack without a gradient that does more harm than all that
    climb one within its budget. Two values differ for sure only where each lies outside the other's interval.

    Args:
        summary: The content of `summary.json`.

    Returns:
        A line for each curve that can be judged: steps by the loss where it is known, anything else by what
        becomes of the answers. And one for each condition whose gradients fail beside no gradient.
    """
    called = measures(summary)
    *_, outcome = called
    clean = {defence_name(entry): entry for entry in summary["conditions"] if entry["attack"] == CLEAN}
    lines = []
    for curve in find_curves(summary):
        measure = "loss" if curve.setting == "steps" and "loss" in called else outcome
        points = curve.values(measure)
        if curve.sees_all and len(points) > 1:
            unattacked = read(clean[curve.defence], measure)
            verdict = _verdict(curve, [values for _, values in points], called, unattacked)
            lines.append(f"{curve.axis}, {curve.line}: {_course(called[measure], points)}: {verdict}")
    return [*lines, *_beaten_gradients(summary, outcome, called[outcome])]


def _beaten_gradients(summary: Mapping[str, Any], outcome: str, name: str) -> Iterator[str]:
    attacks: Mapping[str, Mapping[str, Any]] = summary.get("attacks", {})  # older runs do not say
    for entry in summary["conditions"]:
        blind, done = attacks.get(entry["attack"]), read(entry, outcome)
        if blind is None or blind["gradient"] or done is None:
            continue
        climbing = {
            other["attack"]: harm
            for other in summary["conditions"]
            if attacks.get(other["attack"]) == {**blind, "gradient": True}
            and (other["attacker_sees"], other["defence"]) == (entry["attacker_sees"], entry["defence"])
            and (harm := read(other, outcome)) is not None
        }
        if climbing and all(_exceeds(done, harm) for harm in climbing.values()):
            best = max(climbing, key=lambda attack: climbing[attack]["value"])
            yield (
                f"{entry['key']}, without a gradient: {name} {done['value']:.3g}, against at most "
                f"{climbing[best]['value']:.3g} of attacks that climb one ({best}): WARNING, the gradient is "
                "masked, or those attacks are too short."
            )


def _verdict(curve: Curve, values: list[Values], called: dict[str, str], unattacked: Values | None) -> str:
    """Judge a curve by the values of its measure, and by whether the last attack breaks every image."""
    *_, (outcome, name) = called.items()
    before, last = values[-2:]
    broken = read(curve.points[-1][1], outcome)
    if any(_exceeds(one, other) for one, other in pairwise(values)):
        return "WARNING, it falls on the way; the attack needs more or shorter steps."
    if broken is not None and broken["value"] >= _BROKEN[outcome]:
        return f"fine, {name} reaches {broken['value']:.0%}."
    if curve.setting in _BUDGETS:
        reached, expected = f"{last['value']:.0%}", f"{_BROKEN[outcome]:.0%}"
        return f"WARNING, {name} reaches {reached}, expected at least {expected}; {_MASKED}"
    if unattacked is not None and not _exceeds(last, unattacked):
        return "WARNING, it cannot be told from no attack; that is broken, or the images are too few."
    return _convergence(before, last)


def _convergence(before: Values, last: Values) -> str:
    if _exceeds(last, before):
        return "WARNING, still rising, by more than the interval; the attack needs more."
    if last["value"] - before["value"] > _LITTLE * abs(before["value"]):
        return "unclear, it may still be rising, but that is within the interval; try more, or more images."
    return f"fine, the last step up gains less than {_LITTLE:.0%}."


def _course(name: str, points: Points) -> str:
    (number, before), (largest, last) = points[-2:]
    gain, low, high = last["value"] - before["value"], last["low"], last["high"]
    return (
        f"{name} {before['value']:.3g} at {number:g}, {last['value']:.3g} at {largest:g} "
        f"({gain:+.2g}; interval {low:.3g} to {high:.3g})"
    )


def _exceeds(one: Values, other: Values) -> bool:
    """Whether one value is larger, each outside the other's interval."""
    return one["value"] > other["high"] and other["value"] < one["low"]
