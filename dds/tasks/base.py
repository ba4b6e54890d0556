from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from dds.batch import EXAMPLES, Batch, Record, View
from dds.errors import InputError
from dds.metrics import fidelity, perturbation
from dds.models.zoo import resolve
from dds.tasks.optimisation import adamw_one_cycle

Statistics = dict[str, Tensor]


class BaseTask(LightningModule, ABC):
    """A vision task: a network, how wrong it is on an image, and what that means over a data set.

    A subclass says how a prediction is scored; this class owns the loop over views at test time and the
    training loop. Data-set metrics are functions of per-image statistics summed over images (`metrics`), so
    they can be recomputed, with intervals, from the run folder alone.

    Args:
        model: The network, by `class_path`; `zoo:<name>`; or the path of a file written by `train.py`.
        mean: What the network's input is centred by, for each channel; default: what the network's own
            configuration says (timm), else 0.
        std: What it is divided by; likewise, else 1.
        input_size: `[H, W]` that images are resized to inside the network's forward; default: as they are.
        lr: Highest learning rate, for training.
        weight_decay: Weight decay, for training.
    """

    utility: ClassVar[str]
    """The data-set metric that stands for what the model is worth; higher is better."""

    score: ClassVar[str]
    """The per-image statistic that tells a better draw from a worse one; higher is better."""

    def __init__(
        self,
        model: nn.Module | str,
        mean: list[float] | None = None,
        std: list[float] | None = None,
        input_size: tuple[int, int] | None = None,
        lr: float = 1e-3,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__()
        self.model = resolve(model)
        own = getattr(self.model, "pretrained_cfg", {})
        self.register_buffer("mean", _channels(mean, own.get("mean", 0.0), "mean"), persistent=False)
        self.register_buffer("std", _channels(std, own.get("std", 1.0), "std"), persistent=False)
        if (self.std <= 0).any():
            raise InputError(f"std is {self.std.flatten().tolist()}; expected positive values.")
        self.input_size = input_size
        self.lr, self.weight_decay = lr, weight_decay
        self._validation: list[tuple[Statistics, int]] = []

    mean: Tensor
    std: Tensor

    # What a task is

    @abstractmethod
    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return how wrong the output is on each image, `[B]`: trained on, and maximised by attacks."""

    @abstractmethod
    def decide(self, output: Tensor) -> Tensor:
        """Turn the network's output into the answer a user reads, e.g. the class of each pixel."""

    @abstractmethod
    def combine(self, decisions: Tensor) -> Tensor:
        """Combine the decisions on K noise draws, `[K, B, ...]`, into one, `[B, ...]`."""

    @abstractmethod
    def statistics(self, decision: Tensor, batch: Batch) -> Statistics:
        """Measure each image, `[B]` or `[B, C]`, so that sums over images suffice for `metrics`."""

    @staticmethod
    @abstractmethod
    def metrics(sums: Mapping[str, Any], images: Any) -> dict[str, Any]:
        """Compute the data-set metrics, each `[...]`.

        Args:
            sums: The statistics summed over images, `[...]` or `[..., C]`; numpy arrays.
            images: How many images were summed, `[...]`.
        """

    @abstractmethod
    def check_targets(self, output: Tensor, batch: Batch) -> None:
        """Raise `InputError` if the batch's targets are not what the network's output speaks of."""

    @abstractmethod
    def render(self, decision: Tensor, batch: Batch) -> list[Any]:
        """Return for each image what a figure shows of a decision: `[H, W, 3]` uint8, or a caption."""

    # What every task does

    def forward(self, image: Tensor) -> Tensor:
        """Run the network.

        Args:
            image: `[B, 3, H, W]` in [0, 1], as the user gave it; resized and normalised here.
        """
        if self.input_size is not None and tuple(image.shape[-2:]) != tuple(self.input_size):
            image = F.interpolate(image, self.input_size, mode="bilinear", antialias=True)
        return cast(Tensor, self.model((image - self.mean) / self.std))

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, list[Record]]:
        """Measure every view of a batch: the clean images, and what `AttackAndPurify` put there."""
        clean = View(("clean/-/t0",), batch["image"], [batch["image"]])
        records: list[Record] = []
        for view in batch.get("views", iter([clean])):
            records += self._measure(view, batch)
        return {"records": records}

    def _measure(self, view: View, batch: Batch) -> Iterator[Record]:
        original, decisions = batch["image"], []
        moved = perturbation(view.attacked, original)
        for draw, shown in enumerate(view.draws):
            output = self(shown)
            self.check_targets(output, batch)
            decision = self.decide(output)
            statistics = self.statistics(decision, batch) | moved | fidelity(shown, original)
            yield self._record(view, draw, statistics, {"shown": shown, "decision": decision})
            decisions.append(decision)
        if len(decisions) > 1:
            combined = self.combine(torch.stack(decisions))
            yield self._record(view, None, self.statistics(combined, batch), {"decision": combined})

    @staticmethod
    def _record(view: View, draw: int | None, statistics: Statistics, images: Statistics) -> Record:
        examples = {"attacked": view.attacked, **images}
        return Record(
            view.conditions,
            draw,
            {name: value.cpu() for name, value in statistics.items()},
            {name: value[:EXAMPLES].cpu() for name, value in examples.items()},
        )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the mean loss of a batch."""
        output = self(batch["image"])
        self.check_targets(output, batch)
        loss = self.loss(output, batch).mean()
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the validation metrics."""
        statistics = self.statistics(self.decide(self(batch["image"])), batch)
        sums = {name: value.double().sum(0) for name, value in statistics.items()}
        self._validation.append((sums, len(batch["image"])))

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics over all processes."""
        sums = {name: sum(part[name] for part, _ in self._validation) for name in self._validation[0][0]}
        sums["images"] = torch.tensor(float(sum(count for _, count in self._validation)), device=self.device)
        everywhere = {k: self.trainer.strategy.reduce(v, reduce_op="sum") for k, v in sums.items()}
        arrays = {k: cast(Tensor, v).cpu().numpy() for k, v in everywhere.items()}
        metrics = self.metrics(arrays, arrays.pop("images"))
        self.log_dict({f"val/{name}": float(value) for name, value in metrics.items()}, prog_bar=True)
        self._validation.clear()

    def configure_optimizers(self) -> Any:
        """Train with AdamW and a one-cycle schedule."""
        return adamw_one_cycle(self, self.lr, self.weight_decay)


def _channels(given: list[float] | None, default: float | Iterable[float], name: str) -> Tensor:
    value = torch.as_tensor(default if given is None else given, dtype=torch.float32)
    if value.numel() not in (1, 3):
        raise InputError(f"{name} has {value.numel()} values; expected 3, one for each of R, G, B.")
    return value.reshape(-1, 1, 1).expand(3, 1, 1).clone()
