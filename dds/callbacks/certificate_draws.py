from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule, Trainer

from dds.attacks import Attack
from dds.batch import Batch
from dds.callbacks.attack_and_purify import AttackAndPurify
from dds.errors import InputError
from dds.noise import Streams
from dds.protocol import CLEAN, Bracket, Condition, Craft, Defence, Plan
from dds.protocol.conditions import UNSEEN
from dds.purifiers.smoothing import check_smoothing


class CertificateDraws(AttackAndPurify):
    """Shows a task its clean images through many noise draws, which no attack and no selection has seen.

    Each draw is shown by itself, as to an attacker who knows the noise, so that no decision has to be kept.

    Args:
        protocol: Whose defences are certified; its attacks and controls are left out.
        draws: Noise draws of each image.
        radii: For a sigma, the certified radii that are to be attacked, by their names.

    Attributes:
        sigmas: The standard deviation of the noise of each defence that can be certified.
        refused: Why the others cannot, by their names.
        bracket: The attacks at the certified radii.

    Raises:
        InputError: If no defence can be certified.
    """

    purpose = "certificate"

    def __init__(
        self,
        protocol: AttackAndPurify,
        draws: int,
        radii: Callable[[float], Mapping[str, float]] = lambda sigma: {},
    ) -> None:
        super().__init__(draws=draws, compile=protocol.compile, seed=protocol.seed)
        self.defences = protocol.defences
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
        untouched = Condition(CLEAN, UNSEEN, (), None, 1)
        drawn = [
            Condition(CLEAN, UNSEEN, (), one, self.draws, fixed_noise=self.draws > 1) for one in self.sigmas
        ]
        self.bracket = Bracket({one: radii(sigma) for one, sigma in self.sigmas.items()}, self.draws)
        self.attacks = self.bracket.attacks
        self.plan = Plan.of([untouched, *drawn, *self.bracket.radii])

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
