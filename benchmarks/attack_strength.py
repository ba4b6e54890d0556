"""Which attack leaves least of a task behind one-shot purification, at an equal number of network calls."""

import json
import sys
from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from torch import Tensor

import dds
from benchmarks.contenders import contenders, label_free
from benchmarks.paired import print_table
from dds.data import BaseDataModule, Cifar10, SceneRetrieval, Scenes
from dds.metrics.intervals import interval
from dds.models import pretrained
from dds.models.cifar10 import CifarDenoiser, CifarResNet
from dds.numbers import pixels
from dds.protocol import CLEAN, Plan
from dds.purifiers import DiffusionDenoiser
from dds.results import Results
from dds.results.summary import resampled_utility
from dds.runs import RunFolder
from dds.tasks import BaseTask

TASKS: dict[str, type[BaseTask]] = {
    "classification": dds.tasks.Classification,
    "segmentation": dds.tasks.SemanticSegmentation,
    "depth": dds.tasks.DepthEstimation,
    "retrieval": dds.tasks.ImageRetrieval,
    "detection": dds.tasks.ObjectDetection,
    "cifar10": dds.tasks.Classification,
}
RESULTS = "attack_strength.json"

Values = Mapping[str, Any]
"""A number's `value` and the ends `low` and `high` of its interval."""


class _OfValidation(Scenes):
    """Scenes that show the images of their validation as those of their test."""

    def _numbers(self, split: Any) -> tuple[Tensor, Tensor]:
        return super()._numbers("val" if split == "test" else split)


class _RetrievalOfValidation(_OfValidation, SceneRetrieval):
    pass


@dataclass(frozen=True)
class Found:
    """What an attack left.

    Attributes:
        task: Name of the task.
        metric: Name of its utility.
        calls: Budget of network calls, forward and backward, for one image.
        t: Noise level of the purifier, which the attacker sees.
        attack: Name of the attack; `clean` for none.
        left: The utility: mean over noise draws that the attack has not seen, and the ends of its interval.
        worst: Likewise, if each image meets the worst of the draws.
        vote: Likewise, of the combined decision over the draws, where the task knows one.
        behind: By how much it leaves more than the strongest does, paired over images.
    """

    task: str
    metric: str
    calls: int
    t: int
    attack: str
    left: Values
    worst: Values | None
    vote: Values | None
    behind: Values


def make_task(name: str, options: Namespace) -> tuple[BaseTask, DiffusionDenoiser, BaseDataModule]:
    """Return a task, its purifier and its images."""
    if name == "cifar10":
        if options.cifar10 is None:
            sys.exit("cifar10 needs --cifar10 IMAGES CLASSIFIER DENOISER, see configs/cls_cifar10.yaml.")
        images, classifier, denoiser = options.cifar10
        network = pretrained(CifarResNet(56), classifier, key="state_dict", strip="module.")
        task = TASKS[name](network, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
        data: BaseDataModule = Cifar10(images, limit=options.images, batch_size=options.batch)
        return task, DiffusionDenoiser(pretrained(CifarDenoiser(), denoiser)), data
    validation, retrieval = options.split == "val", name == "retrieval"
    kinds = (Scenes, SceneRetrieval), (_OfValidation, _RetrievalOfValidation)
    count = 4 * options.images if retrieval else options.images  # of which a quarter are queries
    data = kinds[validation][retrieval](val_images=count, test_images=count, batch_size=options.batch)
    settings: dict[str, Any] = {"max_depth": 20.0} if name == "depth" else {}  # as configs/depth_scenes.yaml
    return TASKS[name](f"zoo:scenes-{name}", **settings), DiffusionDenoiser("zoo:scenes-ddpm"), data


def run(name: str, calls: int, options: Namespace) -> list[Found]:
    """Attack a task with everything that a budget of calls allows."""
    task, purifier, data = make_task(name, options)
    eps = pixels("eps", options.eps)
    if options.label_free:
        attacks = label_free(calls, eps, _stand_in(name, task), purifier)
    else:
        attacks = contenders(task.target, calls, eps, options.norm)
    if options.attacks:
        attacks = {key: attack for key, attack in attacks.items() if key in options.attacks}
    protocol = dds.AttackAndPurify(
        purifier, options.levels, attacks=attacks, attacker_sees=["same"], draws=options.draws
    )
    compared = [one for one in protocol.plan.conditions if one.through or one.attack == CLEAN]
    protocol.plan = Plan.of(compared)  # not what they leave of the bare task
    kind = "label_free" if options.label_free else "all"
    ball = f"l2_{eps:g}" if options.norm == "l2" else f"eps{255 * eps:g}"
    budget = f"{ball}_{calls}"
    folder = Path(options.folder) / options.split / f"{kind}_{name}_{budget}"
    store = f"{options.folder}/store"
    results = dds.evaluate(task, data, protocol, folder, resume=True, quiet=options.quiet, store=store)
    return list(_ranked(name, calls, results, type(task)))


def _stand_in(name: str, task: BaseTask) -> BaseTask:
    """Return a task with another network."""
    if name == "cifar10":
        return task  # there is one network
    other = "segmentation" if name == "classification" else "classification"
    return TASKS[other](f"zoo:scenes-{other}")


def _ranked(name: str, calls: int, results: Results, task: type[BaseTask]) -> Iterator[Found]:
    samples, _ = RunFolder(results.folder).open_tables()
    behind_defence = [entry for entry in results.summary["conditions"] if entry["t"] is not None]
    sign = -1 if task.lower_is_better else 1
    for t in dict.fromkeys(entry["t"] for entry in behind_defence):
        entries = [entry for entry in behind_defence if entry["t"] == t]
        drawn = {entry["key"]: resampled_utility(task, samples.of(entry["key"])) for entry in entries}
        entries.sort(key=lambda entry: sign * float(drawn[entry["key"]][0]))
        best = drawn[entries[0]["key"]]
        for entry in entries:
            worst, vote = (entry["metrics"].get(f"{task.utility}_{kind}") for kind in ("worst", "vote"))
            left = entry["metrics"][task.utility]
            behind = interval(sign * (drawn[entry["key"]] - best))
            yield Found(name, task.utility, calls, t, entry["attack"], left, worst, vote, behind)


def show(found: Sequence[Found]) -> None:
    """Print a line for each attack, the strongest of each task, budget and level first."""
    columns = [
        "task",
        "calls",
        "t",
        "attack",
        "left",
        "",
        "worst draw",
        "vote",
        "more than the strongest",
        "",
    ]
    rows = (
        [
            *(one.task, one.calls, one.t, one.attack),
            *(f"{one.left['value']:.3f}", _ends(one.left)),
            *("" if kind is None else f"{kind['value']:.3f}" for kind in (one.worst, one.vote)),
            *(f"{one.behind['value']:.3f}", _ends(one.behind)),
        ]
        for one in found
    )
    print_table(columns, rows)


def _ends(values: Values) -> str:
    return f"{values['low']:.3f} to {values['high']:.3f}"


def draw(found: Sequence[Found], path: Path) -> None:
    """Draw the utility left over the calls: a panel for each task and level, a line for each attack."""
    tasks = list(dict.fromkeys(one.task for one in found))
    levels = list(dict.fromkeys(one.t for one in found))
    budgets = sorted({one.calls for one in found})
    size = (3.2 * len(levels), 2.6 * len(tasks))
    figure, panels = plt.subplots(len(tasks), len(levels), figsize=size, squeeze=False, layout="constrained")
    looks: dict[str, dict[str, Any]] = {CLEAN: {"color": "grey", "linestyle": "--"}}
    attacks = dict.fromkeys(one.attack for one in found if one.attack != CLEAN)
    looks |= {name: {"color": f"C{place}", "marker": "o"} for place, name in enumerate(attacks)}
    for row, task in zip(panels, tasks, strict=True):
        for axes, t in zip(row, levels, strict=True):
            here = [one for one in found if (one.task, one.t) == (task, t)]
            axes.set(title=f"{task}, t={t}", xscale="log", xlabel="network calls an image")
            axes.set_xticks(budgets, map(str, budgets))
            axes.minorticks_off()
            for name, look in looks.items():
                line = sorted((one for one in here if one.attack == name), key=lambda one: one.calls)
                left = [one.left["value"] for one in line]
                axes.plot([one.calls for one in line], left, label=name, **look)
        row[0].set_ylabel(next(one.metric for one in found if one.task == task))
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right upper", fontsize="small")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is asked for, print the table, and leave table and figure in the folder."""
    made = ArgumentParser(description=__doc__, formatter_class=ArgumentDefaultsHelpFormatter)
    made.add_argument("tasks", nargs="*", default=list(TASKS)[:-1], help="of " + ", ".join(TASKS))
    made.add_argument("--calls", type=int, nargs="+", default=[200, 1000], help="budgets, for one image")
    made.add_argument("--eps", default="8/255", help="radius of the ball, in [0, 1] pixel units")
    made.add_argument("--norm", choices=["linf", "l2"], default="linf", help="of the ball")
    made.add_argument("--levels", type=int, nargs="+", default=[10, 50, 145], help="noise levels t")
    made.add_argument("--attacks", nargs="+", help="names of those that run; default: all")
    made.add_argument("--label_free", action="store_true", help="those on the diffusion process instead")
    made.add_argument("--images", type=int, default=32, help="images, or queries of retrieval")
    made.add_argument("--batch", type=int, default=16, help="images in a batch")
    made.add_argument("--draws", type=int, default=5, help="fresh noise draws that attacks are judged on")
    made.add_argument("--split", choices=["val", "test"], default="val", help="val to choose, test to report")
    made.add_argument("--folder", default="runs/attack_strength", help="of runs and attacked images; kept")
    files = ("IMAGES", "CLASSIFIER", "DENOISER")
    made.add_argument("--cifar10", nargs=3, metavar=files, help="files of cifar10")
    made.add_argument("--quiet", action="store_true", help="show no progress")
    options = made.parse_args(arguments)
    found: list[Found] = []
    for name in options.tasks:
        for calls in options.calls:
            found += run(name, calls, options)
    show(found)
    folder = Path(options.folder) / options.split
    (folder / RESULTS).write_text(json.dumps([vars(one) for one in found], indent=1))
    draw(found, folder / "attack_strength.png")


if __name__ == "__main__":
    main()
