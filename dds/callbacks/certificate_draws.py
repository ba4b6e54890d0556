from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule, Trainer
from rich.table import Table
from torch import Tensor

from dds.attacks import Attack
from dds.batch import Batch, View
from dds.callbacks.attack_and_purify import AttackAndPurify
from dds.callbacks.sequential_votes import SequentialVotes
from dds.certificates import Asked, Certificate, Way
from dds.certificates.request import RATIOS
from dds.errors import InputError
from dds.noise import Streams
from dds.numbers import number_of_images
from dds.protocol import CLEAN, Bracket, Condition, Craft, Defence, Plan
from dds.protocol.conditions import UNSEEN
from dds.purifiers.smoothing import check_smoothing
from dds.tasks import BaseTask

FIRST = 10
"""Draws of each image where yes or no is all that is asked; more follow for those that are not decided."""


class CertificateDraws(AttackAndPurify):
    """Shows a task its clean images through many noise draws, which no attack and no selection has seen.

    Where votes are certified, the task's decisions on all draws of a level are put together; of those that
    say yes or no, images that are not decided get further draws.

    Args:
        protocol: Whose defences are certified; its attacks and controls are left out.
        certificate: What is to be certified.
        task: Whose votes, if they are among it.

    Attributes:
        sigmas: The standard deviation of the noise of each defence that can be certified.
        refused: Why the others cannot, by their names.
        bracket: The attacks at the certified radii.
        selection_draws: How many of the first draws choose an answer, which others confirm.
        draws: Of each image, those that choose among them.

    Raises:
        InputError: If no defence can be certified, or nothing whatever is drawn.
    """

    purpose = "certificate"

    def __init__(self, protocol: AttackAndPurify, certificate: Certificate, task: BaseTask) -> None:
        super().__init__(
            draws=certificate.draws,
            compile=protocol.compile,
            attack_precision=protocol.attack_precision,
            seed=protocol.seed,
        )
        self.defences, self.certificate = protocol.defences, certificate
        self.sigmas: dict[Defence, float] = {}
        self.refused: dict[str, str] = {}
        for defence in self.defences.all:
            try:
                self.sigmas[defence] = self.defences.purifier_of(defence).certified_sigma(defence.level)
            except InputError as error:
                self.refused[str(defence)] = str(error)
        if not self.sigmas:
            why = next(iter(self.refused.values()), "no purifier and no noise level above 0 is named.")
            raise InputError(f"there is nothing to certify: {why}")
        self.kinds = certificate.kinds_of(type(task).__name__, task.votes)
        certificate.check_reach(self.sigmas, self.kinds, task.votes)
        votes = "vote" in self.kinds
        self.selection_draws = certificate.selection_draws if votes and task.chooses else 0
        self.draws = self._draws_of(set(task.votes.values()))
        untouched = Condition(CLEAN, UNSEEN, (), None, 1)
        drawn = [
            Condition(CLEAN, UNSEEN, (), one, self.draws, fixed_noise=not votes and self.draws > 1)
            for one in self.sigmas
        ]
        wanted = certificate.attacked if "score" in self.kinds else lambda sigma: {}
        self.bracket = Bracket({one: wanted(sigma) for one, sigma in self.sigmas.items()}, self.draws)
        self.attacks = self.bracket.attacks
        self.plan = Plan.of([untouched, *drawn, *self.bracket.radii])
        self._asked = {
            condition.key: (one, certificate.asked(sigma, task.chooses))
            for condition, (one, sigma) in zip(drawn, self.sigmas.items(), strict=True)
            if votes
        }
        self.sequential = votes and "yes or no" in task.votes.values()

    def _draws_of(self, ways: set[Way]) -> int:
        """Return how many draws all images get, whose votes are certified in these ways."""
        if "vote" not in self.kinds:
            return self.certificate.draws
        if self.kinds == ["vote"] and ways == {"yes or no"}:
            return min(FIRST, self.certificate.max_draws)
        return max(2, self.certificate.draws) + self.selection_draws  # of one draw there is no vote

    def describe(self, doubts: Iterable[str] = (), known: Sequence[str] | None = None) -> Table:
        """Return the plan as a table, above what may not have been meant, and what is certified."""
        table, asked, levels = super().describe(doubts, known), self.certificate, len(self.sigmas)
        radii = [f"{ratio:g} sigma" for ratio in RATIOS]
        if asked.radii is not None:
            radii = [f"{radius:.4g}" for radius in asked.radii]
        each = f"{self.draws} draws of each"
        if self.selection_draws:
            each += f" ({self.selection_draws} of them choose)"
        said = f"Certified ({' and '.join(self.kinds)}): at most {asked.images} images, {each} at each of "
        said += f"{levels} levels"
        if self.sequential and asked.max_draws > self.draws:
            more = asked.max_draws - self.draws
            said += f", up to {more} more (x {levels} x {self._calls} calls) until votes are decided"
        said += f"; radii {', '.join(radii)}. Change it by --certificate.images, draws, max_draws, radii."
        table.caption = f"{table.caption}\n{said}" if table.caption else said
        return table

    @property
    def _calls(self) -> int:
        """Calls of the purifier's network by one draw, the most of all levels."""
        return max(self.defences.calls(defence) for defence in self.sigmas)

    @property
    def is_open(self) -> bool:
        """Whether some images draw on until they are decided."""
        return self.sequential or super().is_open

    def _views(self, task: BaseTask, batch: Batch) -> Iterator[View]:
        for view in super()._views(task, batch):
            if (key := view.conditions[0]) in self._asked:
                view.votes = partial(self._vote, task, batch, *self._asked[key])
            yield view

    def _vote(
        self, task: BaseTask, batch: Batch, defence: Defence, asked: Asked, decisions: Tensor
    ) -> dict[str, Tensor]:
        """Return what is certified of the decisions on all draws, `[K, B, ...]`; draw on where it pays."""
        found = task.certify(decisions, batch, asked)
        if self.sequential:
            streams = Streams(self.seed, tuple(batch["index"].tolist()))
            purify = partial(self.defences.purify, defence)
            tell = partial(self._tell, self.at_work)
            votes = SequentialVotes(task, batch, purify, streams, self.purpose, asked, tell)
            found |= votes.count(decisions)
        return found

    def _tell(self, view: str, waiting: int) -> None:
        self.at_work = f"{view}, {number_of_images(waiting)} of this batch undecided"

    def attack_of(self, craft: Craft) -> Attack:
        """Return the attack of a certified radius, which may be another at each level."""
        return self.bracket.attack_of(craft)

    def purpose_of(self, craft: Craft) -> str:
        """Return `bracket` of attacked images: a certificate's own noise is drawn for nothing else."""
        return "bracket" if craft.attack in self.attacks else self.purpose

    def on_test_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Put the views of a batch into it; try before the first that certificates can hold.

        Raises:
            InputError: If an answer hangs on more than the noisy image.
        """
        super().on_test_batch_start(trainer, pl_module, batch, batch_idx, dataloader_idx)
        task = cast(BaseTask, pl_module)
        if self._asked and (answers := task.answers(batch)):
            self.certificate.check_reach(self.sigmas, self.kinds, task.votes, answers)
        if batch_idx == 0:
            self._check(cast(Batch, batch))

    def _check(self, batch: Batch) -> None:
        if self._findings.unsteady:
            raise InputError(
                f"the answer through {', '.join(sorted(self._findings.unsteady))} changes with the other "
                "images of a batch, or when asked twice, so no radius holds. Have the network infer (eval)."
            )
        image = batch["image"][:1]
        streams = Streams(self.seed, tuple(batch["index"][:1].tolist()), ("rehearsal",))
        with torch.autocast(image.device.type, enabled=False), self.eagerly():
            for defence in self.sigmas:
                check_smoothing(self.defences.purifier_of(defence), image, defence.level, streams)
