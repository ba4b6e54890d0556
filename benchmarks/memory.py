"""How much memory gradients through several reverse steps take, and the draws of a view."""

import resource
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing import get_context

import torch

from benchmarks.paired import Spread, parse, parser, print_table
from benchmarks.workload import evaluate, make_purifier, make_task, rendered
from dds.callbacks import AttackAndPurify
from dds.noise import Streams
from dds.purifiers import MultiStepDenoiser

LEVEL = 145


def peak(device: str) -> float:
    """Return the most MiB that this process has held so far: of the GPU, or resident."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def of_gradient(options: Namespace, batch: int, checkpoint: bool) -> float:
    """Return the MiB that a gradient through several steps takes, beyond networks and images."""
    torch.set_num_threads(options.threads)
    purifier = MultiStepDenoiser(
        "zoo:scenes-ddpm", sampler="ddim", steps=options.steps, checkpoint=checkpoint
    )
    purifier.to(options.device)
    image = torch.rand(batch, 3, options.size, options.size, device=options.device).requires_grad_()
    before = peak(options.device)
    purified = purifier(image, purifier.level(LEVEL), Streams(0, tuple(range(batch))))
    torch.autograd.grad(purified.sum(), image)
    return peak(options.device) - before


def of_draws(options: Namespace, batch: int, draws: int) -> float:
    """Return the MiB that the evaluation of a view on several draws takes, beyond networks and images."""
    torch.set_num_threads(options.threads)
    task, protocol = make_task("segmentation"), AttackAndPurify(make_purifier(), [LEVEL], draws=draws)
    data = rendered(options.size, batch, batch)
    before = peak(options.device)
    evaluate(task, protocol, data, options.device)
    return peak(options.device) - before


def measure(work: Callable[[], float], rounds: int) -> Spread:
    """Do something in fresh processes and summarise what it returns."""
    context = get_context("forkserver")  # imports once, and every process begins after them
    context.set_forkserver_preload(["benchmarks.workload"])
    with context.Pool(1, maxtasksperchild=1) as pool:
        return Spread.of([pool.apply(work) for _ in range(rounds)])


def gradient_rows(options: Namespace) -> list[list[object]]:
    """Return a line for each batch size: kept, checkpointed, and their ratio."""
    rows: list[list[object]] = []
    for batch in options.batch:
        kept, anew = (
            measure(partial(of_gradient, options, batch, checkpoint), options.rounds).median
            for checkpoint in (False, True)
        )
        rows.append([batch, f"{kept:.0f}", f"{anew:.0f}", f"{kept / anew:.2f}"])
    return rows


def draw_rows(options: Namespace) -> list[list[object]]:
    """Return a line for each number of draws, at the first batch size."""
    taken = [partial(of_draws, options, options.batch[0], draws) for draws in options.draws]
    medians = [measure(work, options.rounds).median for work in taken]
    return [[draws, f"{median:.0f}"] for draws, median in zip(options.draws, medians, strict=True)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print peaks for each batch size, and for each number of draws."""
    made = parser(
        "Peak memory beyond networks and images, each measured in a fresh process: resident memory, or on a "
        "GPU what torch allocated.",
        rounds=1,
    )
    made.add_argument("--size", type=int, default=64, help="side of the images in pixels")
    made.add_argument("--batch", type=int, nargs="+", default=[4, 8, 16], help="images in a batch")
    made.add_argument("--steps", type=int, default=4, help="reverse steps")
    made.add_argument("--draws", type=int, nargs="+", default=[1, 4, 16], help="noise draws of a view")
    options = parse(made, arguments)
    columns = ["batch", f"MiB, {options.steps} steps", "MiB, checkpointed", "ratio"]
    print_table(columns, gradient_rows(options))
    print()
    print_table(["draws", f"MiB, a view of {options.batch[0]} images"], draw_rows(options))


if __name__ == "__main__":
    main()
