from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics import MetricCollection

from dds.batch import EXAMPLES, NO_CLASS, NOT_FINITE, UNTOUCHED, Batch, Record, View, to_uint8
from dds.certificates import Asked, Way
from dds.data import BaseDataModule
from dds.errors import InputError
from dds.metrics.fidelity import fidelity, perturbation
from dds.metrics.intervals import Interval
from dds.metrics.resampling import Resampling
from dds.models.answers import answer_of
from dds.models.features import find_layer, find_pooled_layer, outputs_of, pool, seen_last
from dds.models.normalisation import (
    Channels,
    own_normalisation,
    refuse_second_normalisation,
    why_not_normalised,
)
from dds.models.wrappers import unwrapped
from dds.models.zoo import resolve
from dds.numbers import plain
from dds.tasks.optimisation import adamw_one_cycle
from dds.tasks.running import RESAMPLING, Running

Statistics = dict[str, Tensor]
Pictures = dict[str, NDArray[Any]]
PurifyDatabase = Callable[[Tensor, Tensor], Tensor]
"""From images `[B, 3, H, W]` and their indices `[B]` to purified images."""


class BaseTask(LightningModule, ABC):
    """A vision task: a network, how wrong it is on an image, and what that means over a data set.

    A subclass says how a prediction is scored; this class owns the loop over views at test time and the
    training loop. Data-set metrics are functions of per-image statistics (`metrics`), so they can be
    recomputed, with intervals, from the run folder alone.

    Args:
        model: The network, by `class_path`; `zoo:<name>`; or the path of a file written by `train.py`. What
            wraps it and hands images on (`DataParallel`, `torch.compile`, averages of weights) is taken off;
            of several things that it returns, `dds.models.answers` says which one counts.
        mean: What the network's input is centred by, for each channel; default: what the network's own
            configuration says (timm, segmentation-models-pytorch, files of `train.py`), else 0.
        std: What it is divided by; likewise, else 1.
        input_size: `[H, W]` that images are resized to inside the network's forward; default: as they are.
        features: Layer of the network whose pooled output is compared, by cosine, between what the task sees
            and the original image; default: found in timm's, torchvision's, segmentation-models-pytorch's
            and DINOv2 networks, else not reported.
        train_only: Part of the network that is trained, e.g. `head`; the rest keeps its weights and runs in
            evaluation mode. Default: all is trained.
        lr: Highest learning rate, for training.
        weight_decay: Weight decay, for training.
    """

    target: ClassVar[str]
    """The key of the batch that it is scored by; says to attacks what kind of task it is."""

    utility: ClassVar[str]
    """The data-set metric that stands for what the model is worth."""

    score: ClassVar[str]
    """The per-image statistic that tells a better draw from a worse one."""

    lower_is_better: ClassVar[bool] = False
    """Whether utility and score measure an error."""

    right: ClassVar[str | None] = None
    """The per-image statistic that is 1 for a right and 0 for a wrong answer, if there is one."""

    zero_or_one: ClassVar[tuple[str, ...]] = ()
    """Those of the `unit_scores` that are 1 for yes and 0 for no, and nothing between."""

    votes: Mapping[str, Way] = MappingProxyType({})
    """What votes over draws are certified of, and how: see `yes_or_no`, `certify`; a median is that of one of
    the `unit_scores`."""

    chooses: ClassVar[bool] = False
    """Whether `certify` needs draws that choose an answer before others confirm it."""

    normalises: ClassVar[bool] = True
    """Whether `mean` and `std` are used; detectors see to that themselves."""

    localised: ClassVar[bool] = False
    """Whether targets belong to places in the image, so that it must not be moved without them."""

    run_state: ClassVar[frozenset[str]] = frozenset({"_running", "_validation", "goes_on", "doubts"})
    """Attributes that a run leaves in the task, and that decide no answer and no loss."""

    def __init__(
        self,
        model: str | nn.Module,
        mean: list[float] | None = None,
        std: list[float] | None = None,
        input_size: tuple[int, int] | None = None,
        features: str | None = None,
        train_only: str | None = None,
        lr: float = 1e-3,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__()
        self.model = unwrapped(resolve(model))
        given: tuple[Channels | None, Channels | None] = plain(mean), plain(std)
        refuse_second_normalisation(self.model, *given)
        own = own_normalisation(self.model) if None in given else (0.0, 1.0)
        unsaid = self.normalises and None in given
        self.doubts = list(filter(None, [why_not_normalised(self.model) if unsaid else None]))
        """What the plan warns of."""
        for name, said, default in zip(("mean", "std"), given, own, strict=True):
            self.register_buffer(name, _channels(default if said is None else said, name), persistent=False)
        _check_normalisation(self.mean.flatten().tolist(), self.std.flatten().tolist())
        self.input_size = input_size
        self.lr, self.weight_decay = lr, weight_decay
        self.features = features
        _ = self.feature_layer  # an unknown name is refused before any work
        self.train_only = train_only
        if train_only is not None:
            find_layer(self.model.requires_grad_(False), train_only).requires_grad_(True)
        self._running: dict[str, Running] = {}
        self.goes_on = False
        """Whether network, data and purifiers are those that `prepare` saw before."""
        self._validation: MetricCollection | None = None

    mean: Tensor
    std: Tensor

    # What a task is

    @abstractmethod
    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return how wrong the output is on each image, `[B]`: trained on, and maximised by attacks."""

    def losses(self, output: Tensor, batch: Batch) -> Statistics:
        """Return the `loss`, `[B]`, to be recorded where it follows from the output."""
        return {"loss": self.loss(output, batch)}

    @abstractmethod
    def decide(self, output: Tensor) -> Tensor:
        """Turn the network's output into the answer a user reads, e.g. the class of each pixel.

        Where the output is not finite, that is `NO_CLASS` or NaN, which `statistics` counts as wrong.
        """

    def answered(self, decision: Tensor) -> Tensor:
        """Tell for which images all of a decision is an answer, bool `[B]`."""
        given = decision.isfinite() if decision.is_floating_point() else decision != NO_CLASS
        return given.reshape(len(given), -1).all(1)

    @abstractmethod
    def combine(self, decisions: Tensor) -> Tensor:
        """Combine the decisions on K noise draws, `[K, B, ...]`, into one, `[B, ...]`."""

    @abstractmethod
    def statistics(self, decision: Tensor, batch: Batch) -> Statistics:
        """Measure each image, `[B]` or `[B, ...]`; all that `metrics` needs to know of it."""

    @staticmethod
    @abstractmethod
    def metrics(resampling: Resampling) -> MetricCollection:
        """Return the metrics of a data set, the utility among them.

        They are updated with the images' `index` and, by name, what `statistics` says of them; see
        `Resampled`.

        Args:
            resampling: The resampled data sets on which they are computed besides.
        """

    @abstractmethod
    def check_targets(self, output: Tensor, batch: Batch) -> None:
        """Raise `InputError` if the batch's targets are not what the network's output speaks of."""

    @abstractmethod
    def render(self, decision: Tensor, batch: Batch) -> list[Any]:
        """Return for each image what a figure shows of a decision: `[H, W, 3]` uint8, or a caption."""

    # What a task may say besides

    def prepare(self, data: BaseDataModule, purify: Mapping[str, PurifyDatabase]) -> None:
        """Do what has to be done once before the first test batch.

        Args:
            data: The data module.
            purify: The purifier for each defence, by the defence's key; `t0` returns images as they are.
        """

    def unit_scores(self, statistics: Statistics) -> Statistics:
        """Return the scores of images that certificates are about: in [0, 1], more is better.

        Args:
            statistics: What was measured, `[...]` or `[..., C]`, such as under K draws of B images.

        Returns:
            Name to `[...]`; NaN under all draws of an image that does not count.

        Raises:
            InputError: If this task names none.
        """
        if self.lower_is_better:
            raise InputError(
                f"{type(self).__name__} is scored by an error, {self.score}; certificates need a score in "
                "[0, 1] of which more is better. Have its unit_scores return one."
            )
        return {self.score: statistics[self.score]}

    def yes_or_no(self, decision: Tensor, batch: Batch) -> Statistics:
        """Answer the questions that draws vote on by yes or no, of those in `votes`.

        Args:
            decision: On one draw, as `decide` returns it.
            batch: Its targets.

        Returns:
            Name to `[B]` or, where there are Q questions about an image, `[B, Q]`: 1 for yes, 0 for no, NaN
            for a question that does not count, whatever is drawn.
        """
        names = [name for name, way in self.votes.items() if way == "yes or no"]
        scores = self.unit_scores(self.statistics(decision, batch)) if names else {}
        return {name: scores[name] for name in names}

    def certify(self, decisions: Tensor, batch: Batch, asked: Asked) -> Statistics:
        """Bound what an image comes to at the worst, of those in `votes` that are bounded.

        Args:
            decisions: `[K, B, ...]` on independent draws; `asked.selection_draws` of them choose.
            batch: Their targets.
            asked: Radii and alpha, which holds for all bounds of an image at one radius together.

        Returns:
            `<name>_certified`, `[B, R]`, NaN of images that do not count; `<name>_counts`, `[B, R * X]`, what
            they follow from, if that is numbers of something; and what else is to be recorded.
        """
        return {}

    def pool(self, combined: Statistics) -> dict[str, tuple[float, Sequence[float]]]:
        """Bound what all images together come to at the worst, where that is no mean over them.

        Args:
            combined: Of the votes: what `statistics` and `certify` returned, `[I, ...]`.

        Returns:
            Name of a metric to what the votes come to, and its least at each radius.
        """
        return {}

    def answers(self, batch: Batch) -> int:
        """Return how many answers about an image `certify` bounds together; 0: none."""
        return 0

    def check_output(self, output: Tensor) -> None:
        """Raise `InputError` if the output on a first image cannot be meant, e.g. probabilities as logits."""

    def continuous_output(self, image: Tensor, batch: Batch) -> Tensor:
        """Return, for images `[B, 3, H, W]` in [0, 1], what changes little where they do, `[B, ...]`."""
        return cast(Tensor, self(image))

    def image_loss(self, image: Tensor, batch: Batch) -> Tensor:
        """Return how wrong the network is on each image `[B, 3, H, W]` in [0, 1], `[B]`."""
        return self.loss(self(image), batch)

    def look(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the network's output and, where it has any, its pooled features, `[B, F]` unit vectors."""
        layer = self.feature_layer
        if layer is None:
            return self(image), None
        with outputs_of(layer) as caught:
            output = self(image)
        features = pool(caught[-1]) if caught else None
        if features is None or len(features) != len(image):
            if self.features is None:  # found by its name; nobody asked for it
                return output, None
            raise InputError(
                f"task.features={self.features} returns {type(seen_last(caught, self.features)).__name__}, "
                "which is not one vector, sequence or map an image. Name another layer."
            )
        return output, F.normalize(features, dim=1)

    @property
    def reads_features(self) -> bool:
        """Whether the loss reads `batch["features"]`, the features of the clean images."""
        return False

    @property
    def feature_layer(self) -> nn.Module | None:
        """The layer whose pooled output is compared, if there is one."""
        if self.features is None:
            return find_pooled_layer(self.model)
        return find_layer(self.model, self.features)

    # What every task does

    def forward(self, image: Tensor) -> Tensor:
        """Run the network.

        Args:
            image: `[B, 3, H, W]` in [0, 1], as the user gave it; resized and normalised here.
        """
        if self.input_size is not None and tuple(image.shape[-2:]) != tuple(self.input_size):
            image = F.interpolate(image, self.input_size, mode="bilinear", antialias=True)
        output = answer_of(self.model((image - self.mean) / self.std))
        if output.ndim == 0 or len(output) != len(image):
            raise InputError(
                f"the network returns {tuple(output.shape)} for {len(image)} images; expected "
                f"[{len(image)}, ...], an answer for each. Have it keep the batch in the first place."
            )
        return output

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, list[Record]]:
        """Measure every view of a batch: the clean images, and what `AttackAndPurify` put there."""
        clean = View((UNTOUCHED,), batch["image"], [batch["image"]])
        records: list[Record] = []
        for view in batch.get("views", iter([clean])):
            records += self._measure(view, batch, pictured=batch_idx == 0)  # all would fill the memory
        self._update_running(records, batch["index"][: batch.get("real")].cpu())
        return {"records": records}

    def _update_running(self, records: Sequence[Record], index: Tensor) -> None:
        draws: dict[str, list[Statistics]] = {}
        for record in records:
            for key in record.conditions if record.draw is not None else ():
                draws.setdefault(key, []).append(record.statistics)
        for key, each in draws.items():
            self.update(key, index, {name: torch.stack([one[name] for one in each]) for name in each[0]})

    def update(self, key: str, index: Tensor, statistics: Statistics) -> None:
        """Update the running metrics of a condition; images that they know already are passed over.

        Args:
            key: The condition.
            index: `[B]` the images' places in their data set.
            statistics: What was measured of them under each of K draws, `[K, B]` or `[K, B, ...]`.
        """
        if key not in self._running:
            self._running[key] = Running(self.metrics(RESAMPLING), self.utility)
        self._running[key].update(index, statistics)

    def _measure(self, view: View, batch: Batch, pictured: bool) -> Iterator[Record]:
        decisions = []
        moved = perturbation(view.attacked, batch["image"]) | view.marks
        for draw, shown in enumerate(view.draws, view.first_draw):
            output, features = self._answer(shown, batch)
            with torch.autocast(shown.device.type, enabled=False):  # networks may save bits, not the measure
                shown, decision = shown.to(batch["image"]), self.decide(output)
                statistics = self._statistics(decision, output, features, shown, batch) | moved
            pictures = self._pictures(view, shown, decision, batch) if pictured and draw == 0 else {}
            yield self._record(view, draw, statistics, pictures, batch)
            decisions.append(_small(decision))
        if len(decisions) > 1:
            yield self._record(view, None, self._together(view, torch.stack(decisions), batch), {}, batch)

    def decide_on(self, shown: Tensor, batch: Batch) -> Tensor:
        """Decide on images of a batch, shown as `[B, 3, H, W]`, as a test step does."""
        output, _ = self._answer(shown, batch)
        with torch.autocast(shown.device.type, enabled=False):
            return self.decide(output)

    def _answer(self, shown: Tensor, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Return the network's output in the batch's own precision, and its features if there are any."""
        output, features = self.look(shown)
        self.check_targets(output, batch)
        return _unless_broken(output.to(batch["image"]), shown), features

    def _together(self, view: View, decisions: Tensor, batch: Batch) -> Statistics:
        """Measure the combined decision over draws, and what is certified of them."""
        combined = self.combine(decisions)
        whole = combined if combined.is_floating_point() else combined.long()
        statistics = self.statistics(whole, batch)
        return statistics if view.votes is None else statistics | view.votes(decisions)

    def _statistics(
        self, decision: Tensor, output: Tensor, features: Tensor | None, shown: Tensor, batch: Batch
    ) -> Statistics:
        statistics = self.statistics(decision, batch) | fidelity(shown, batch["image"])
        statistics[NOT_FINITE] = (~self.answered(decision)).float()
        if features is not None:
            features = features.to(shown)
            clean = batch.setdefault("features", features)  # the first view is the clean image
            statistics["feature_cosine"] = F.cosine_similarity(features, clean)
        return statistics | self.losses(output, batch)

    @staticmethod
    def _record(
        view: View, draw: int | None, statistics: Statistics, pictures: Pictures, batch: Batch
    ) -> Record:
        measured = {name: value[: batch.get("real")].cpu() for name, value in statistics.items()}
        return Record(view.conditions, draw, measured, pictures)

    def _pictures(self, view: View, shown: Tensor, decision: Tensor, batch: Batch) -> Pictures:
        """Return what figures show of the first few images of a batch."""
        some = slice(min(EXAMPLES, batch.get("real", EXAMPLES)))
        first: Any = {key: value[some].cpu() for key, value in batch.items() if isinstance(value, Tensor)}
        return {
            "attacked": to_uint8(view.attacked[some]),
            "shown": to_uint8(shown[some]),
            "decision": np.array(self.render(decision[some].cpu(), first)),
        }

    def start_over(self) -> None:
        """Forget what earlier runs have measured, and see that there is something to measure with.

        Raises:
            InputError: If `metrics` returns anything but metrics.
        """
        self._running.clear()
        try:
            metrics = self.metrics(Resampling(replicates=0))
        except (TypeError, ValueError) as error:  # of torchmetrics, on what is no metric
            raise self._no_metrics(str(error)) from error
        if not isinstance(metrics, MetricCollection):
            raise self._no_metrics(f"it returns a {type(metrics).__name__}")

    def _no_metrics(self, why: str) -> InputError:
        return InputError(
            f"{type(self).__name__}.metrics returns no metrics ({why}); expected a torchmetrics "
            "MetricCollection, such as MetricCollection({'accuracy': dds.metrics.Mean('correct', "
            "resampling=resampling)})."
        )

    def running(self) -> dict[str, dict[str, Interval]]:
        """Return what the images seen so far come to, for the eyes of people who wait.

        Returns:
            Key of each condition that was begun, to `loss` and the name of the utility, to `value`, `low` and
            `high`, as in `summary.json`.
        """
        return {key: running.compute() for key, running in self._running.items()}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the mean loss of a batch."""
        loss = self.image_loss(batch["image"], batch).mean()
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def train(self, mode: bool = True) -> "BaseTask":
        """Switch to training mode, all but what is frozen."""
        super().train(mode)
        if self.train_only is not None:
            self.model.eval()
            self.model.get_submodule(self.train_only).train(mode)
        return self

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Measure a batch for the validation metrics; one comes before any training."""
        output = self(batch["image"])
        self.check_targets(output, batch)
        statistics = self.statistics(self.decide(output), batch)
        self._validation = self._validation or self.metrics(Resampling(replicates=0))
        self._validation.update(
            batch["index"].cpu(), **{name: value.cpu() for name, value in statistics.items()}
        )

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics over all processes."""
        assert self._validation is not None
        device = self.device if self.trainer.world_size > 1 else "cpu"  # where processes meet
        metrics = self._validation.to(device).compute()
        self.log_dict({f"val/{name}": value.item() for name, value in metrics.items()}, prog_bar=True)
        self._validation = None

    def configure_optimizers(self) -> Any:
        """Train with AdamW and a one-cycle schedule."""
        return adamw_one_cycle(self, self.lr, self.weight_decay)


def _small(decision: Tensor) -> Tensor:
    """Keep the classes of pixels in two bytes, of which there are many over all draws."""
    return decision if decision.is_floating_point() or decision.ndim < 3 else decision.short()


def _unless_broken(output: Tensor, shown: Tensor) -> Tensor:
    """Put NaN for the output on images that are not finite themselves, whatever a network made of them."""
    broken = ~shown.flatten(1).isfinite().all(1)
    return output.masked_fill(broken.reshape(-1, *[1] * (output.ndim - 1)), torch.nan)


def _check_normalisation(mean: list[float], std: list[float]) -> None:
    """Refuse what is meant for pixels in [0, 255]; images are in [0, 1]."""
    if not all(0 <= value <= 1 for value in mean) or not all(0 < value <= 1 for value in std):
        scaled = [[round(value / 255, 4) for value in values] for values in (mean, std)]
        meant = f" Did you mean {scaled[0]} and {scaled[1]}?" if max(*mean, *std) > 2 else ""
        raise InputError(
            f"mean is {mean} and std {std}; expected values in [0, 1], of std positive ones, as images are "
            f"in [0, 1].{meant}"
        )


def _channels(given: Channels, name: str) -> Tensor:
    value = torch.as_tensor(given, dtype=torch.float32)
    if value.numel() not in (1, 3):
        raise InputError(f"{name} has {value.numel()} values; expected 3, one for each of R, G, B.")
    return value.reshape(-1, 1, 1).expand(3, 1, 1).clone()
