import math
import time
from datetime import timedelta
from functools import partial
from typing import Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import nn
from torch.utils.hooks import RemovableHandle

from dds.callbacks.attack_and_purify import AttackAndPurify
from dds.data.base import SharedBatches
from dds.telling import Bar, work_aside

_PAUSE = 60.0  # seconds between two lines


class NetworkProgress(Callback):
    """A progress bar that counts calls of the networks, so that it moves within a batch.

    In a file or a pipe, where a bar cannot move, there is a line at most once a minute instead. How many
    calls there will be is planned, and after each batch told from those so far: attacks may call as often as
    they need. So the bar ends at 100 %.

    Args:
        protocol: Whose condition at work is named.
        console: Where the bar is shown; default: the standard output.

    Attributes:
        calls: Forward calls of networks with one image each, so far, of this process.
    """

    def __init__(self, protocol: AttackAndPurify, console: Console | None = None) -> None:
        self.protocol, self._console = protocol, console
        self.calls = 0
        self._hooks: list[RemovableHandle] = []
        self._images = math.inf  # until the first batch there are but rehearsals, which do not count

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the bar on the first process."""
        if not trainer.is_global_zero:
            return
        columns = (
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.description}", markup=False),
        )
        self._bar = Bar(*columns, console=self._console or Console())
        self._images = math.inf
        cost = self.protocol.cost
        total = expected_batches(trainer) * (cost.task.forward + cost.purifier.forward)
        self._task = self._bar.add_task("", total=None if self.protocol.is_open else total)
        surrogates = [surrogate.model for surrogate in self.protocol.surrogates.values()]
        for network in dict.fromkeys((pl_module.model, *self.protocol.defences.networks, *surrogates)):
            self._hooks.append(cast(nn.Module, network).register_forward_hook(self._advance))
        self._expected = partial(expected_batches, trainer)
        self._said = self._since = time.monotonic()
        self._bar.start()

    def on_test_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Note how many images a batch has."""
        self._images = len(batch["image"])

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Expect as many calls of the batches to come as of those so far."""
        if trainer.is_global_zero:
            done = self._bar.tasks[0].completed or 1.0  # a network may be called past its hooks
            total = done / (batch_idx + 1) * expected_batches(trainer)
            self._bar.update(self._task, completed=done, total=total)

    def _advance(self, network: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        self.calls += len(inputs[0]) if inputs else 1
        advance = 0.0 if work_aside() else len(inputs[0]) / self._images if inputs else 1.0
        self._bar.update(self._task, advance=advance, description=self._at_work)
        rehearsed = self._images == math.inf
        if not (rehearsed or self._bar.moves) and time.monotonic() - self._said > _PAUSE:
            self._say()

    @property
    def _at_work(self) -> str:
        return ", ".join(filter(None, [self.protocol.at_work, work_aside()]))

    def _say(self) -> None:
        """Print how far the work is, in images, parts of a batch too; in calls where no plan tells."""
        self._said = time.monotonic()
        seconds, share = self._said - self._since, self._bar.tasks[0].percentage / 100
        batches = self._expected()
        images = batches * self._images
        if self._bar.tasks[0].total is None:
            batch = "the only batch" if batches == 1 else f"the first of {batches:.0f} batches"
            told = f"{self.calls} network calls after {_time(seconds)}, for {batch}"
        else:
            told = f"{share * images:.1f} of about {images:.0f} images measured after {_time(seconds)}"
        if share:
            rate, left = share * images / seconds, seconds * (1 - share) / share
            told += f": {rate:.2g} images a second, {_time(left)} left"
        self._bar.console.print(f"{told}; at work: {self._at_work}", markup=False, highlight=False)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take the bar away, also after an error."""
        for hook in self._hooks:
            hook.remove()
        if self._hooks:
            self._bar.stop()
        self._hooks.clear()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave the terminal as it was."""
        self.teardown(trainer, pl_module, "test")


def _time(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def expected_batches(trainer: Trainer) -> float:
    """Return how many test batches this process is to have, as far as can be told while others take some."""
    return cast(SharedBatches, trainer.test_dataloaders).expected
