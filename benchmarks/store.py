"""What a store of attacked images saves when a finished evaluation gets one more noise level."""

import time
from argparse import Namespace
from collections.abc import Sequence
from tempfile import TemporaryDirectory

from benchmarks.paired import parse, parser, print_table
from benchmarks.shared_work import LEVELS, make_attacks
from benchmarks.workload import TASKS, evaluate, make_purifier, make_task, recorded, rendered
from dds.callbacks import AttackAndPurify
from dds.store import KnownCrafts, Store


def measure(levels: Sequence[int], store: str | None, options: Namespace) -> tuple[int, float]:
    """Run the grid at some levels; return the images that networks were called with, and seconds."""
    task, purifier = make_task(options.task), make_purifier()
    protocol = AttackAndPurify(
        purifier,
        levels,
        attacks=make_attacks(options.steps),
        attacker_sees=["none", "same", 145],
        draws=options.draws,
    )
    protocol.known = None if store is None else KnownCrafts(Store(store))
    data = rendered(options.size, options.images, options.batch)
    with recorded(task.model, purifier.model) as calls:
        since = time.perf_counter()
        evaluate(task, protocol, data, options.device)
        return sum(len(call.inputs[0]) * (1 + call.gradient) for call in calls), time.perf_counter() - since


def main(arguments: Sequence[str] | None = None) -> None:
    """Print calls and times of both."""
    made = parser(
        "3 attacks x 3 views of the attacker at four noise levels and then at one more: with what the "
        "first run left in a store, and anew. Calls are forward and backward, counted at the networks.",
        rounds=1,
    )
    made.add_argument("--size", type=int, default=64, help="side of the images in pixels")
    made.add_argument("--task", choices=list(TASKS), default="segmentation", help="task and network")
    made.add_argument("--images", type=int, default=8, help="images")
    made.add_argument("--batch", type=int, default=8, help="images in a batch")
    made.add_argument("--steps", type=int, default=10, help="steps of each attack")
    made.add_argument("--draws", type=int, default=3, help="noise draws of each purified view")
    options = parse(made, arguments)
    rows: list[list[object]] = []
    for number in range(options.rounds):
        with TemporaryDirectory() as store:
            runs = {
                "four levels, empty store": (LEVELS[:-1], store),
                "one more, from the store": (LEVELS, store),
                "one more, anew": (LEVELS, None),
            }
            found = {name: measure(*run, options) for name, run in runs.items()}
        calls, seconds = found["one more, anew"]
        for name, (called, took) in found.items():
            shares = [f"{called / calls:.2f}", f"{took / seconds:.2f}"]
            rows.append([number + 1, name, f"{called / options.images:.0f}", f"{took:.1f}", *shares])
    print_table(["round", "run", "calls an image", "s", "calls / anew", "s / anew"], rows)


if __name__ == "__main__":
    main()
