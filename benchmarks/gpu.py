"""What an evaluation costs on a GPU, where its time goes, and what settings of torch change."""

import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.agreement import compare_devices
from benchmarks.gpu_settings import BASE, COMPILED, SETTINGS, Setting
from benchmarks.paired import Spread, finish, parse, parser, print_table, ratio
from benchmarks.parts import PARTS, divided
from benchmarks.workload import evaluate
from dds.attacks import PGD
from dds.attacks.objectives.base import Calls
from dds.batch import MARKS, Record
from dds.callbacks import AttackAndPurify
from dds.data import ImageFolder
from dds.models.guided_diffusion import guided_diffusion
from dds.purifiers import DiffusionDenoiser
from dds.runs import ResultsWriter, RunFolder
from dds.tasks import BaseTask, Classification

LEVEL = 145
SIDE = 224  # of the images that a ViT sees
CLASSES = 4
NONE = torch.zeros(())
PAUSE = 0.1  # seconds between two looks at how busy the GPU is


def make_task(name: str) -> BaseTask:
    """Return classification by a network of timm's, with random weights."""
    import timm

    torch.manual_seed(0)
    return Classification(timm.create_model(name), input_size=(SIDE, SIDE)).eval().requires_grad_(False)


def make_purifier() -> DiffusionDenoiser:
    """Return one-shot purification by the network of ImageNet at 256 pixels, with random weights."""
    torch.manual_seed(0)
    return DiffusionDenoiser(
        guided_diffusion(
            image_size=256,
            num_channels=256,
            num_head_channels=64,
            attention_resolutions="32,16,8",
            learn_sigma=True,
            resblock_updown=True,
        )
    )


@dataclass(frozen=True)
class Workload:
    """An evaluation that is measured.

    Attributes:
        name: What tables call it.
        task: The task.
        protocol: What it is shown.
        size: Side of the images in pixels.
        batch: Images in a batch.
        batches: Batches, after a first one that does not count.
    """

    name: str
    task: BaseTask
    protocol: AttackAndPurify
    size: int
    batch: int
    batches: int


@dataclass
class Measured(Callback):
    """What one evaluation took from the end of its first batch to that of its last.

    Attributes:
        begin: What to call at the end of the first batch.
        seconds: The time.
        busy: Shares of the time in which the GPU was at work, in percent, one a look.
        memory: Bytes of the GPU that tensors held at most.
        records: What the task measured.
    """

    begin: Callable[[], None] = lambda: None
    seconds: float = 0.0
    busy: list[float] = field(default_factory=list)
    memory: int = 0
    records: list[Record] = field(default_factory=list)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *batch: Any, **more: Any
    ) -> None:
        """Read the clock."""
        finish()
        now = time.perf_counter()
        if not self.records:
            self._since = now
            self.busy.clear()
            self.begin()
        self.seconds = now - self._since
        self.records += outputs["records"]


def workloads(options: Namespace) -> Iterator[Workload]:
    """Make the evaluations: one behind a purifier, attacked through it, and two without."""
    pgd = PGD(steps=options.steps)
    through = AttackAndPurify(make_purifier(), [LEVEL], attacks={"pgd": pgd}, attacker_sees=["same"])
    batch = min(options.batch, options.images)
    yield Workload(
        f"ViT-S/16 behind diffusion, {options.size} px",
        make_task("vit_small_patch16_224"),
        through,
        options.size,
        batch,
        options.images // batch,
    )
    if options.first:
        return
    for name, network in {"ViT-S/16": "vit_small_patch16_224", "ViT-B/16": "vit_base_patch16_224"}.items():
        size, times = min(SIDE, options.size), options.times
        bare = AttackAndPurify(attacks={"pgd": pgd})
        yield Workload(
            f"{name}, {size} px", make_task(network), bare, size, batch * times, options.images // batch
        )


def write_photographs(folder: Path, size: int, images: int) -> None:
    """Write JPEG files in class folders, half as large again as they will be needed."""
    from PIL import Image

    generator = torch.Generator().manual_seed(0)
    for number in range(images):
        coarse = torch.rand(1, 3, 12, 16, generator=generator)
        large = F.interpolate(coarse, (size * 3 // 2, size * 2), mode="bicubic").clamp(0, 1)[0]
        place = folder / str(number % CLASSES) / f"{number}.jpg"
        place.parent.mkdir(exist_ok=True)
        Image.fromarray((large * 255).byte().permute(1, 2, 0).numpy()).save(place)


def measure(
    work: Workload, setting: Setting, options: Namespace, photographs: Path, parts: bool = False
) -> Any:
    """Run an evaluation as `evaluate.py` does, with JPEG files on one side and rows on the other.

    Returns:
        A `Measured`; with `parts`, the seconds of each of `PARTS` instead.
    """
    data = ImageFolder(str(photographs), resize=work.size, crop=work.size, batch_size=work.batch)
    data.limit = work.batch * (work.batches + 1)
    with TemporaryDirectory() as runs, setting.change(work.task, work.protocol):
        writer = ResultsWriter(RunFolder(Path(runs, "run")), "")
        measured = Measured()

        def run() -> None:
            callbacks = [writer, measured]
            evaluate(work.task, work.protocol, data, options.device, callbacks, precision=setting.precision)

        if parts:
            with divided(work.task, work.protocol) as watches:
                measured.begin = watches.restart
                run()
            return watches.seconds
        with watched(options.device, measured.busy):
            run()
        measured.memory = torch.cuda.max_memory_allocated() if options.device == "cuda" else 0
        return measured


@contextmanager
def watched(device: str, busy: list[float]) -> Iterator[None]:
    """Note, while the context lasts, how busy the GPU is."""
    over = Event()

    def look() -> None:
        while not over.wait(PAUSE):
            busy.append(torch.cuda.utilization())

    thread = Thread(target=look, daemon=True)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        thread.start()
    try:
        yield
    finally:
        over.set()


def operations(work: Workload, device: str) -> float:
    """Count the floating-point operations for one image; a backward call has as many as a forward one."""
    image = torch.zeros(1, 3, work.size, work.size, device=device)
    work.task.to(device)
    cost, purifier = work.protocol.cost, work.protocol.purifier
    total = _counted(lambda: work.task(image)) * _calls(cost.task)
    if purifier is not None:
        network = cast(nn.Module, purifier.model.to(device))
        once = _counted(lambda: network(image, torch.zeros(1, device=device)))
        total += once * _calls(cost.purifier)
    return total


def _calls(calls: Calls) -> int:
    return calls.forward + calls.backward


def _counted(call: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        call()
    return float(counter.get_total_flops())


def compare_settings(
    work: Workload, settings: Sequence[Setting], options: Namespace, photographs: Path
) -> None:
    """Print what each setting makes of an evaluation, in rounds until its time is over."""
    each = operations(work, options.device)
    images = work.batch * work.batches
    runs: dict[str, list[Measured]] = {setting.name: [] for setting in settings}
    for _ in range(options.rounds):
        for setting in settings:
            if time.monotonic() < options.until:
                runs[setting.name].append(measure(work, setting, options, photographs))
                seconds = runs[setting.name][-1].seconds
                marks = ", ".join(_marks(runs[setting.name][-1].records)) or "no marks"
                print(f"# {work.name}, {setting.name}: {seconds:.2f} s, {marks}", flush=True)
    rows = [
        _row(work.name, name, done, runs[BASE][: len(done)], images, each)
        for name, done in runs.items()
        if done
    ]
    print_table(
        [
            "evaluation",
            "setting",
            "images a second",
            "/ as it is",
            "TFLOP/s",
            "GPU busy",
            "GiB",
            "rounds alike",
        ],
        rows,
    )


def _row(
    work: str, setting: str, runs: list[Measured], base: list[Measured], images: int, each: float
) -> list[object]:
    seconds = {"this": [run.seconds for run in runs], "base": [run.seconds for run in base]}
    speed = Spread.of([images / one for one in seconds["this"]]).median
    busy = [look for run in runs for look in run.busy]
    return [
        work,
        setting,
        f"{speed:.3g}",
        ratio({"this": seconds["base"], "base": seconds["this"]}, "this", "base"),
        f"{speed * each / 1e12:.3g}",
        f"{np.mean(busy):.0f} %" if busy else "-",
        f"{runs[-1].memory / 2**30:.1f}",
        _alike(runs),
    ]


def _marks(records: Sequence[Record]) -> list[str]:
    """Return what any image was marked with."""
    return [name for name in MARKS if any(one.statistics.get(name, NONE).any() for one in records)]


def _alike(runs: list[Measured]) -> str:
    """Tell whether all rounds measured the same of each image, to the bit."""
    if len(runs) == 1:
        return "-"
    alike = all(
        torch.equal(value, there.statistics[name])
        for run in runs[1:]
        for here, there in zip(runs[0].records, run.records, strict=True)
        for name, value in here.statistics.items()
    )
    return "yes" if alike else "NO"


def print_parts(found: dict[str, dict[str, float]]) -> None:
    """Print the share of each part in the time of each evaluation."""
    totals = {name: sum(seconds.values()) for name, seconds in found.items()}
    rows = [
        [part, *(f"{100 * seconds[part] / totals[name]:.1f} %" for name, seconds in found.items())]
        for part in PARTS
    ]
    print_table(["share of time, waiting for the GPU at each part's end", *found], rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print tables of settings, of parts, and of how far devices agree."""
    made = parser(__doc__ or "", rounds=2)
    made.add_argument(
        "--size", type=int, default=256, help="side of the images behind the purifier in pixels"
    )
    made.add_argument(
        "--images", type=int, default=16, help="images behind the purifier, after a first batch"
    )
    made.add_argument("--batch", type=int, default=8, help="images in a batch there")
    made.add_argument("--times", type=int, default=16, help="times as many where there is no purifier")
    made.add_argument("--steps", type=int, default=10, help="steps of PGD")
    made.add_argument(
        "--scenes", type=int, default=16, help="images of seg_scenes; 0: do not compare devices"
    )
    made.add_argument("--first", action="store_true", help="measure nothing but that behind the purifier")
    made.add_argument("--only", nargs="+", help="settings to measure, and no others")
    made.add_argument("--compile", action="store_true", help="compile the purifier too, which takes minutes")
    made.add_argument("--minutes", type=float, default=5, help="for settings, the same for each evaluation")
    options = parse(made, arguments)
    print(
        f"# {torch.cuda.get_device_name() if options.device == 'cuda' else 'CPU'}, torch {torch.__version__}"
    )
    with TemporaryDirectory() as folder:
        _measure_all(options, Path(folder))
    print()
    if options.scenes:
        compare_devices(options)


def _measure_all(options: Namespace, photographs: Path) -> None:
    found = {}
    write_photographs(photographs, options.size, options.times * (options.images + options.batch))
    evaluations = 1 if options.first else 3
    for work in workloads(options):
        options.until = time.monotonic() + 60 * options.minutes / evaluations
        chosen = [one for one in SETTINGS if work.protocol.purifier or not one.of_purifier]
        if options.only:
            chosen = [one for one in chosen if one.name in (BASE, *options.only)]
        if options.compile and work.protocol.purifier:
            chosen.append(COMPILED)
        compare_settings(work, chosen, options, photographs)
        found[work.name] = measure(work, chosen[0], options, photographs, parts=True)
    print()
    print_parts(found)


if __name__ == "__main__":
    main()
