"""What is saved by computing once what several conditions need."""

from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product

from benchmarks.paired import Spread, interleave, parse, parser, print_table, ratio
from benchmarks.workload import (
    TASKS,
    Data,
    count,
    evaluate,
    make_purifier,
    make_task,
    recorded,
    rendered,
    without_rehearsal,
)
from dds.attacks import MIFGSM, PGD, SIA, Attack
from dds.callbacks import AttackAndPurify
from dds.protocol import Plan
from dds.purifiers import DiffusionDenoiser
from dds.tasks import BaseTask

LEVELS = [10, 50, 145, 259, 396]


def make_attacks(steps: int) -> dict[str, Attack]:
    """Return the attacks of the grid."""
    return {"pgd": PGD(steps=steps), "mifgsm": MIFGSM(steps=steps), "sia": SIA(steps=steps, copies=1)}


def grid(purifier: DiffusionDenoiser, options: Namespace) -> AttackAndPurify:
    """Return the whole grid: clean images and 3 attacks x 3 views, each without and at five levels."""
    return AttackAndPurify(
        purifier,
        LEVELS,
        attacks=make_attacks(options.steps),
        attacker_sees=["none", "same", options.view],
        draws=options.draws,
    )


def cells(purifier: DiffusionDenoiser, options: Namespace) -> list[AttackAndPurify]:
    """Return the same grid as evaluations of one condition each."""
    clean = [AttackAndPurify(purifier, [level], draws=options.draws) for level in (0, *LEVELS)]
    attacked = [
        AttackAndPurify(purifier, [level], attacks={name: attack}, attacker_sees=[view], draws=options.draws)
        for (name, attack), view, level in product(
            make_attacks(options.steps).items(), ("none", "same", options.view), (0, *LEVELS)
        )
    ]
    for protocol in (*clean, *attacked):
        protocol.plan = Plan.of([protocol.plan.conditions[-1]])
    return [*clean, *attacked]


def evaluate_all(task: BaseTask, protocols: Sequence[AttackAndPurify], data: Data, device: str) -> None:
    """Run evaluations one after the other."""
    for protocol in protocols:
        evaluate(task, protocol, data, device)


def calls_of(
    task: BaseTask, purifier: DiffusionDenoiser, work: Callable[[], object], images: int
) -> list[float]:
    """Count calls for one image: forward and backward of the task's network, then of the purifier's."""
    with recorded(task.model, purifier.model) as calls:
        work()
    real = without_rehearsal(calls)
    return [
        number
        for network in (task.model, purifier.model)
        for number in count([call for call in real if call.network is network], images)
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print calls and times of both ways."""
    made = parser(
        "A grid of 3 attacks x 3 views of the attacker x 6 levels, with shared work and cell by cell, each "
        "condition as a run of its own. Calls are counted at the networks.",
        rounds=3,
    )
    made.add_argument("--size", type=int, default=32, help="side of the images in pixels")
    made.add_argument("--task", choices=list(TASKS), default="classification", help="task and network")
    made.add_argument("--batch", type=int, default=4, help="images, one batch; at least 3")
    made.add_argument("--steps", type=int, default=5, help="steps of each attack")
    made.add_argument("--draws", type=int, default=1, help="noise draws of each purified view")
    made.add_argument("--view", type=int, default=145, help="the level that the third attacker sees")
    options = parse(made, arguments)
    task, purifier = make_task(options.task), make_purifier()
    data = rendered(options.size, options.batch, options.batch)
    works = {
        "cell by cell": partial(evaluate_all, task, cells(purifier, options), data, options.device),
        "shared": partial(evaluate_all, task, [grid(purifier, options)], data, options.device),
    }
    alone, together = (calls_of(task, purifier, work, options.batch) for work in works.values())
    seconds = interleave(works, options)
    names = [f"calls of the {who}, {way}" for who in ("task", "purifier") for way in ("forward", "backward")]
    rows: list[list[object]] = [
        [name, f"{one:.0f}", f"{other:.0f}", f"{one / other:.2f}"]
        for name, one, other in zip(names, alone, together, strict=True)
    ]
    medians = [f"{Spread.of(each).median:.1f}" for each in seconds.values()]
    rows.append(["seconds", *medians, ratio(seconds, *works)])
    print_table(["one image; time of all", *works, "ratio"], rows)


if __name__ == "__main__":
    main()
