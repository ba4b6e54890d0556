"""How many noise draws a vote takes that stops when it is decided, against as many for every image."""

from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import dds
from benchmarks.paired import print_table
from benchmarks.workload import make_purifier, make_task
from dds.certificates import Certificate, radius
from dds.data import Scenes


def compare(level: int, options: Namespace) -> list[object]:
    """Draw as often as is fixed of each image, and count what a vote on the same draws would have needed."""
    purifier, draws = make_purifier(), options.draws
    sigma = purifier.level(level).sigma
    wanted = Certificate([options.ratio * sigma], draws=draws, max_draws=draws, images=options.images)
    scenes = Scenes(size=options.size, test_images=options.images, batch_size=16)
    task, protocol = make_task("classification"), dds.AttackAndPurify(purifier, [level])
    with TemporaryDirectory() as place:
        results = dds.certify(task, scenes, protocol, wanted, folder=Path(place) / "run", quiet=True)
        table, drawn = results.certificates, results.samples
    votes = table[table.kind == "vote"].set_index("index")
    drawn = drawn[drawn.condition == f"clean/-/t{level}"]
    right = drawn.groupby("index").correct.sum()[votes.index]
    fixed = radius(right, draws, sigma, wanted.alpha) >= options.ratio * sigma
    shares = fixed.mean(), votes.value.mean(), (votes.value == fixed).mean(), votes.decided.mean()
    said = [f"{share:.3f}" for share in shares]
    taken = votes.draws.mean()
    return [f"t{level}", len(votes), *said, f"{taken:.0f}", f"{draws / taken:.1f}"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each noise level: share certified and draws of an image, both ways."""
    made = ArgumentParser(description=__doc__, formatter_class=ArgumentDefaultsHelpFormatter)
    made.add_argument("--images", type=int, default=32, help="of the scenes")
    made.add_argument("--size", type=int, default=64, help="height and width of an image")
    made.add_argument("--draws", type=int, default=1000, help="of each image where the number is fixed")
    made.add_argument("--ratio", type=float, default=1.0, help="radius, in sigma of the level")
    made.add_argument("--levels", type=int, nargs="*", default=[50, 145], help="t of each noise level")
    options = made.parse_args(arguments)
    columns = ["level", "images", f"certified by {options.draws} draws", "until decided", "the same images"]
    columns += ["decided", "draws taken", f"{options.draws} / draws taken"]
    print_table(columns, (compare(level, options) for level in options.levels))


if __name__ == "__main__":
    main()
