"""Whether an evaluation costs in proportion to its images, conditions and draws."""

from argparse import Namespace
from collections.abc import Sequence
from functools import partial

import numpy as np

from benchmarks.paired import Spread, Work, interleave, parse, parser, print_table
from benchmarks.workload import TASKS, evaluate, make_purifier, make_task, rendered
from dds.attacks import PGD, Attack
from dds.callbacks import AttackAndPurify

LEVELS = [10, 50, 145, 259, 396]


def works(options: Namespace) -> dict[str, dict[int, Work]]:
    """Return evaluations that grow along one axis each, by how far they go along it."""
    task, purifier, one = make_task(options.task), make_purifier(), options.batch
    attacks: dict[str, Attack] = {"pgd": PGD(steps=options.steps)}

    def work(images: int = one, levels: int = 1, draws: int = 1) -> tuple[int, Work]:
        protocol = AttackAndPurify(purifier, LEVELS[:levels], attacks=attacks, draws=draws)
        data = rendered(options.size, images, one)
        return len(protocol.plan.conditions), partial(evaluate, task, protocol, data, options.device)

    return {
        "images": {one * many: work(images=one * many)[1] for many in range(1, options.points + 1)},
        "conditions": dict(work(levels=levels) for levels in range(1, options.points + 1)),
        "draws": {draws: work(draws=draws)[1] for draws in range(1, options.points + 1)},
    }


def fit(units: Sequence[float], seconds: Sequence[float]) -> tuple[float, float, float]:
    """Fit a straight line.

    Returns:
        Seconds a unit, seconds at none, and the share of the variance that the line explains (r^2).
    """
    slope, start = np.polyfit(units, seconds, 1).tolist()
    return slope, start, float(np.corrcoef(units, seconds)[0, 1] ** 2)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a fitted line for each axis."""
    made = parser(
        "Time of an evaluation against its numbers of images, conditions and noise draws: a straight line "
        "through the medians.",
        rounds=3,
    )
    made.add_argument("--size", type=int, default=32, help="side of the images in pixels")
    made.add_argument("--task", choices=list(TASKS), default="classification", help="task and network")
    made.add_argument(
        "--batch", type=int, default=8, help="images in a batch, and the least number of images"
    )
    made.add_argument("--steps", type=int, default=2, help="steps of PGD")
    made.add_argument("--points", type=int, default=4, choices=range(2, 6), help="points on each line")
    options = parse(made, arguments)
    rows = []
    for axis, by_units in works(options).items():
        seconds = interleave({str(units): work for units, work in by_units.items()}, options)
        medians = [Spread.of(each).median for each in seconds.values()]
        slope, start, explained = fit(list(by_units), medians)
        shown = ", ".join(f"{units}: {each:.2f}" for units, each in zip(seconds, medians, strict=True))
        rows.append([axis, shown, f"{1000 * slope:.1f}", f"{1000 * start:.0f}", f"{explained:.4f}"])
    print_table(["axis", "seconds", "ms for one more", "ms for none", "r^2"], rows)


if __name__ == "__main__":
    main()
