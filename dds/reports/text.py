"""What a run shows, in words with the numbers."""

from collections.abc import Iterator, Sequence

from dds.numbers import number_of_images
from dds.results.layout import Entry, Summary, is_named, number, sight_name, utility_name, with_interval
from dds.results.sanity import Values
from dds.results.standing import RULE, Comparison, Standing


def cost(summary: Summary, entry: Entry) -> str:
    """Write how a condition's utility differs from that of clean images without defence."""
    drop = entry["utility_drop"]["value"]
    if drop is None:
        return "n/a"
    worse, better = ("more", "less") if summary["lower_is_better"] else ("lost", "gained")
    return f"{abs(drop):.1%} {worse if drop >= 0 else better}"


def paragraphs(summary: Summary, comparison: Comparison) -> dict[str, list[str]]:
    """Return sentences for each thing that a reader asks.

    Args:
        summary: The content of `summary.json`.
        comparison: The same, compared.
    """
    answers = {
        "What was measured": _measured(summary),
        "What the defences cost": _costs(summary, comparison),
        "Which attack is worst": _worst_attacks(comparison),
        "Which level is best": _best(summary, comparison),
        "What it takes": _price(summary),
    }
    return {question: list(sentences) for question, sentences in answers.items()}


def headlines(summary: Summary, comparison: Comparison) -> list[tuple[str, str, str]]:
    """Return what matters most: a label, a value, and what it means."""
    none = comparison.undefended
    found = [("Clean, no defence", comparison.utility(none.clean), f"{comparison.metric}")]
    if none.worst:
        found.append(("Worst attack, no defence", comparison.utility(none.worst), none.worst["key"]))
    lines = [(label, number(value["value"]), note) for label, value, note in found]
    for best in comparison.ranked(named=False)[:1]:
        assert best.worst is not None
        kept = number(comparison.utility(best.worst)["value"])
        lines.append((f"Worst attack, {best.name}", kept, f"{best.worst['key']}; the best level by the rule"))
        drop = cost(summary, best.clean)
        lines.append((f"Clean utility drop, {best.name}", drop, f"clean {comparison.metric}"))
    return lines


def _measured(summary: Summary) -> Iterator[str]:
    better = "lower" if summary["lower_is_better"] else "higher"
    draws = max(entry["draws"] for entry in summary["conditions"])
    yield f"{summary['task']} on {number_of_images(summary['images'])} of {summary['data']}."
    yield f"The utility is {utility_name(summary)}; {better} is better."
    if draws > 1:
        yield f"Behind a random defence every number is the mean over {draws} fresh noise draws."
    yield "Intervals hold 95 % of the values on images drawn anew (bootstrap)."


def _costs(summary: Summary, comparison: Comparison) -> Iterator[str]:
    clean = with_interval(comparison.utility(comparison.undefended.clean))
    yield f"Without attack and without defence {comparison.metric} is {clean}."
    defended = [standing for standing in comparison.standings if not standing.is_none]
    levels = [standing for standing in defended if not is_named(standing.clean)]
    named = [standing for standing in defended if is_named(standing.clean)]
    for kind, standings in (("by noise level", levels), ("by the other defences", named)):
        if standings:
            values = ", ".join(_clean_value(summary, comparison, standing) for standing in standings)
            yield f"Clean images {kind}: {values}."


def _clean_value(summary: Summary, comparison: Comparison, standing: Standing) -> str:
    value = number(comparison.utility(standing.clean)["value"])
    return f"{value} at {standing.name} ({cost(summary, standing.clean)})"


def _worst_attacks(comparison: Comparison) -> Iterator[str]:
    for sees, ranked in comparison.attacks_by_sight().items():
        (worst, mean), *others = ranked
        behind = f"; then {', '.join(f'{name} {number(value)}' for name, value in others)}" if others else ""
        yield f"If the attacker sees {sight_name(sees)}: {worst}, {comparison.metric} {number(mean)}{behind}."
    if comparison.attacks_by_sight():
        yield "These are means over the defences on which all attacks of that view were run."
    else:
        yield "No attack was compared, besides points of sanity curves and of certified radii."


def _best(summary: Summary, comparison: Comparison) -> Iterator[str]:
    yield f"The rule: {RULE}."
    levels, named = comparison.ranked(named=False), comparison.ranked(named=True)
    if not levels:
        yield "By it no noise level can be called best: none of the attacks compared here saw one."
    for best in levels[:1]:
        yield f"By it the best noise level is {_kept(comparison, best)}."
        attacked, clean = (cost(summary, entry) for entry in (best.worst or best.clean, best.clean))
        yield f"Against clean images without defence: {clean} without attack, {attacked} under this one."
        yield from _compared(summary, comparison, best, "For comparison,", [comparison.undefended])
        if not comparison.improves(best):
            yield "So no noise level is better than no defence."
        yield from _compared(summary, comparison, best, "The next level is", levels[1:2])
    for best in named[:1]:
        yield f"Of the defences without a noise level, the best is {_kept(comparison, best)}."


def _kept(comparison: Comparison, standing: Standing) -> str:
    assert standing.worst is not None
    value = with_interval(comparison.utility(standing.worst))
    return f"{standing.name}: {comparison.metric} {value} under its worst attack, {standing.worst['key']}"


def _compared(
    summary: Summary, comparison: Comparison, best: Standing, start: str, others: Sequence[Standing]
) -> Iterator[str]:
    for other in others:
        if other.worst and best.worst:
            ends = comparison.utility(best.worst), comparison.utility(other.worst)
            doubt = (
                f"; the intervals overlap, {number_of_images(summary['images'])} may not tell the two apart"
            )
            yield f"{start} {_kept(comparison, other)}{doubt if _overlap(*ends) else ''}."


def _overlap(one: Values, other: Values) -> bool:
    if None in (*one.values(), *other.values()):
        return False
    return one["low"] <= other["high"] and other["low"] <= one["high"]


def _price(summary: Summary) -> Iterator[str]:
    calls, seconds = summary.get("calls"), summary.get("seconds")
    purification = summary.get("purification_calls", {})
    for count in dict.fromkeys(filter(None, purification.values())):
        defences = ", ".join(key for key, calls in purification.items() if calls == count)
        yield f"One purification calls its network {_times(count)}: {defences}."
    for network, count in (calls or {}).items():
        yield (
            f"All conditions together call the network of the {network} {count['forward']} times forward "
            f"and {count['backward']} times backward for each image."
        )
    if seconds:
        each = seconds / summary["images"]
        yield f"The evaluation took {seconds:.0f} s of all processes together, {each:.2g} s an image."
    if found := summary.get("from_store"):
        yield f"Of the attacked images {found} were found in a store, and took no calls and no time."
    if not calls and not seconds:
        yield "Network calls and time were not recorded in this run."


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
