"""What an evaluation costs beyond the network calls that it makes."""

from argparse import Namespace
from collections.abc import Sequence
from functools import partial

from benchmarks.paired import Spread, interleave, parse, parser, print_table, ratio
from benchmarks.workload import (
    TASKS,
    count,
    evaluate,
    make_purifier,
    make_task,
    networks_of,
    recorded,
    rendered,
    replay,
    without_rehearsal,
)
from dds.attacks import PGD, Attack
from dds.callbacks import AttackAndPurify

LEVEL = 145
THROUGH = "PGD through the purifier"
_MORE = 8  # times as many batches where they are short, for an evaluation's start is not to count


def protocols(steps: int) -> dict[str, AttackAndPurify]:
    """Return what is evaluated, by name; each shows the images as they are besides."""
    pgd: dict[str, Attack] = {"pgd": PGD(steps=steps)}
    return {
        "one-shot purification": AttackAndPurify(make_purifier(), [LEVEL], draws=1),
        "PGD, no purifier": AttackAndPurify(attacks=pgd),
        THROUGH: AttackAndPurify(make_purifier(), [LEVEL], attacks=pgd, attacker_sees=["same"], draws=1),
    }


def compare(
    protocol: AttackAndPurify, size: int, batches: int, options: Namespace
) -> tuple[Spread, Spread, str]:
    """Compare an evaluation through Lightning's test loop with its network calls alone.

    Returns:
        Time of the evaluation over that of the calls; its milliseconds an image; calls of one image, without
        those of the rehearsal.
    """
    task, images = make_task(options.task), options.batch * batches
    data = rendered(size, images, options.batch)
    harness = partial(evaluate, task, protocol, data, options.device)
    with recorded(*networks_of(task, protocol)) as calls:
        harness()
    seconds = interleave({"harness": harness, "calls": partial(replay, calls)}, options)
    forward, backward = count(without_rehearsal(calls), images)
    milliseconds = Spread.of([1000 * one / images for one in seconds["harness"]])
    return ratio(seconds, "harness", "calls"), milliseconds, f"{forward:.0f} + {backward:.0f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each protocol and size."""
    made = parser(
        "Time of an evaluation over that of its network calls alone: the very calls, noted at the networks "
        "and made again with the same batches (those of the rehearsal too). Target: at most 1.05.",
        rounds=4,
    )
    made.add_argument("--size", type=int, nargs="+", default=[32, 64], help="side of the images in pixels")
    made.add_argument("--task", choices=list(TASKS), default="classification", help="task and network")
    made.add_argument("--batch", type=int, default=16, help="images in a batch")
    made.add_argument(
        "--batches", type=int, default=1, help=f"batches; {_MORE} times as many where they are short"
    )
    made.add_argument("--steps", type=int, default=5, help="steps of PGD")
    options = parse(made, arguments)
    rows = []
    for size in options.size:
        for name, protocol in protocols(options.steps).items():
            batches = options.batches * (1 if name == THROUGH else _MORE)
            times, milliseconds, calls = compare(protocol, size, batches, options)
            rows.append([name, size, calls, times, f"{milliseconds.median:.1f}"])
    print_table(["evaluation", "size", "network calls an image", "evaluation / calls", "ms an image"], rows)


if __name__ == "__main__":
    main()
