"""What an evaluation of any size costs on any number of GPUs, from the costs of one image."""

from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from benchmarks.paired import print_table
from benchmarks.results_size import CASES, Case, make_job, write_parts
from dds.runs.run_folder import RunFolder
from dds.store.entries import pack

GPUS = (1, 8, 64)
_SAMPLE = 64  # images whose rows are written to see how much room they take
_UNITS = ("B", "kB", "MB", "GB", "TB")


def cases() -> Iterator[tuple[str, Case]]:
    """Yield evaluations by name: two of the field, and one of a million images."""
    yield "ImageNet", CASES["imagenet"]
    yield "COCO", CASES["coco"]
    yield "a million images", replace(CASES["imagenet"], images=1_000_000)


def bytes_of_rows(case: Case) -> tuple[float, float]:
    """Return what an image leaves in the run folder: in parts, and in the merged tables."""
    with TemporaryDirectory() as place:
        folder = RunFolder(Path(place) / "run")
        job = make_job(case, _SAMPLE, attacks=1)
        write_parts(case, job, folder)
        parts = sum(path.stat().st_size for path in folder.part_files())
        job.merge(folder)
        merged = sum(path.stat().st_size for path in (folder.samples, folder.votes))
    return parts / _SAMPLE, merged / _SAMPLE


def bytes_of_entry(side: tuple[int, int]) -> int:
    """Return what an attacked image takes in a store; of noise on every pixel, the worst there is."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, *side), generator=generator) / 255
    noise = (torch.rand(image.shape, generator=generator) - 0.5) * 16 / 255
    return len(pack((image + noise).clamp(0, 1), image, {}))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table."""
    made = ArgumentParser(description=__doc__, formatter_class=ArgumentDefaultsHelpFormatter)
    made.add_argument(
        "--calls",
        type=float,
        default=55.0,
        help="calls of the diffusion network a second on one GPU, forward or backward, with one image of "
        "256 x 256 pixels each; of others the time is taken to grow with their pixels. The default is that "
        "of the 256-pixel network on an H200, 2.13 images a second with 26 calls each, as python -m "
        "benchmarks.gpu prints them",
    )
    options = made.parse_args(arguments)
    rows = []
    for name, case in cases():
        job = make_job(case, images=1, attacks=1)
        cost = job.protocol.cost.purifier
        calls = (cost.forward + cost.backward) * case.images
        seconds = calls / options.calls * np.prod(case.side) / 256**2
        hours = [seconds / gpus / 3600 for gpus in GPUS]
        crafts = sum(
            craft.images for craft in job.protocol.plan.crafts if craft.attack in job.protocol.attacks
        )
        sizes = [size * case.images for size in (*bytes_of_rows(case), crafts * bytes_of_entry(case.side))]
        rows.append(
            [
                name,
                f"{case.images:,}",
                len(job.grid.keys),
                f"{calls:.2g}",
                *map(_time, hours),
                *map(_size, sizes),
            ]
        )
    times = [f"on {gpus} GPU{'s' * (gpus > 1)}" for gpus in GPUS]
    print_table(["evaluation", "images", "conditions", "calls", *times, "parts", "tables", "store"], rows)


def _time(hours: float) -> str:
    return f"{hours / 24:.1f} d" if hours >= 48 else f"{hours:.1f} h"


def _size(number: float) -> str:
    power = int(np.log10(number) // 3)
    return f"{number / 1000**power:.3g} {_UNITS[power]}"


if __name__ == "__main__":
    main()
