from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.table import Table
from torch import Tensor

from dds.attacks import Attack
from dds.attacks.base import whole
from dds.attacks.objectives import Purify
from dds.batch import Batch, View, check_images
from dds.errors import InputError
from dds.models.schedule import NoiseLevel
from dds.noise import Streams
from dds.protocol import CLEAN, Condition, Cost, Craft, Plan, list_conditions
from dds.purifiers import Purifier
from dds.tasks import BaseTask
from dds.tasks.base import PurifyDatabase

_TOLERANCE = 1e-5  # rounding of image + perturbation, relative to eps and 1


class AttackAndPurify(Callback):
    """Shows a task its test images attacked and purified; the one place where task, attack and purifier meet.

    Each batch gets an iterator of views (`Batch.views`); a view is made when the task asks for it.

    Args:
        purifier: What is evaluated as a defence; none: attacks on the bare task only.
        noise_levels: Levels of the defence, t or `{sigma: 0.25}`; no defence (0) is always run.
        attacks: Attacks by name.
        attacker_sees: What the attacker differentiates through: `none` (the bare task), `same` (the purifier
            at the defence's level), or a level: the purifier at that level whatever the defence uses.
        draws: Fresh noise draws on which each purified view is evaluated.
        seed: Seed of all random numbers of attacks and purifiers.
    """

    def __init__(
        self,
        purifier: Purifier | None = None,
        noise_levels: Sequence[int | dict[str, float]] = (10, 50, 145, 259, 396),
        attacks: dict[str, Attack] | None = None,
        attacker_sees: Sequence[str | int | dict[str, float]] = ("none", "same"),
        draws: int = 3,
        seed: int = 0,
    ) -> None:
        self.purifier, self.attacks = purifier, attacks or {}
        self.seed, self.draws = seed, whole("draws", draws)
        for name in self.attacks:
            if name == CLEAN or not name or "/" in name:
                raise InputError(
                    f"an attack cannot be called {name!r}; choose a name without '/', not 'clean'."
                )
        levels = [self._level(given) for given in noise_levels if given != 0] if purifier else []
        views = [self._view(given) for given in attacker_sees]
        if self.attacks and not views:
            raise InputError("attacker_sees is empty; expected some of none, same, a noise level.")
        conditions = list_conditions(self.attacks, views, list(dict.fromkeys(levels)), self.draws)
        self.plan = Plan.of(condition for condition in conditions if self._makes_sense(condition))
        for name in set(self.attacks) - {condition.attack for condition in self.plan.conditions}:
            raise InputError(
                f"attack {name} attacks the purifier but never sees one; name a purifier and noise levels, "
                "and let attacker_sees hold same or a noise level."
            )
        self.at_work = ""

    def _makes_sense(self, condition: Condition) -> bool:
        attack = self.attacks.get(condition.attack)
        return attack is None or condition.through is not None or not attack.objective.needs_purifier

    def _level(self, given: int | dict[str, float]) -> NoiseLevel:
        if self.purifier is None:
            raise InputError(f"attacker_sees {given} needs a purifier; name one, or let it see none.")
        return self.purifier.level(given)

    def _view(self, given: str | int | dict[str, float]) -> str | NoiseLevel:
        if given in ("none", "same", 0):
            return "none" if self.purifier is None or given == 0 else str(given)
        if isinstance(given, str):
            raise InputError(f"attacker_sees {given!r}; expected none, same, a t, or {{sigma: value}}.")
        return self._level(given)

    @property
    def cost(self) -> Cost:
        """Network calls for one image."""
        return self.plan.cost(self.attacks, self._purifier_calls)

    @property
    def _purifier_calls(self) -> int:
        return self.purifier.network_calls if self.purifier else 0

    def describe(self) -> Table:
        """Return the plan as a table."""
        return self.plan.table(self.attacks, self._purifier_calls)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check the trainer, freeze both networks and move the purifier to the device."""
        if trainer.test_loop.inference_mode:
            raise InputError(
                "the trainer runs tests in inference mode, in which attacks get no gradients; "
                "expected Trainer(inference_mode=False). Remove trainer.inference_mode from the command."
            )
        pl_module.requires_grad_(False)
        if self.purifier is not None:
            self.purifier.to(trainer.strategy.root_device).eval().requires_grad_(False)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the task prepare itself, with every defence at hand."""
        defences = {condition.defence for condition in self.plan.conditions}
        purify = {str(level or "t0"): self._of_database(level) for level in defences}
        cast(BaseTask, pl_module).prepare(cast(Any, trainer).datamodule, purify)

    def _of_database(self, level: NoiseLevel | None) -> PurifyDatabase:
        def purify(image: Tensor, index: Tensor) -> Tensor:
            streams = Streams(self.seed, tuple(index.tolist()), ("database",))
            return next(self._draws(image, level, 1, streams))

        return purify

    def on_test_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Put the views of a batch into it."""
        task = cast(BaseTask, pl_module)
        check_images(batch["image"])
        if batch_idx == 0:
            self._rehearse(task, batch["image"][:1])
        batch["views"] = self._views(task, batch)

    def _rehearse(self, task: BaseTask, image: Tensor) -> None:
        """Find out before the work starts whether the networks take such images."""
        size = f"{image.shape[2]}x{image.shape[3]}"
        for network in (task, self.purifier):
            try:
                if isinstance(network, Purifier):
                    level = next((c.defence for c in self.plan.conditions if c.defence), None)
                    network(image, level or network.level(1), Streams(0, (0,)))
                elif network is not None:
                    network(image)
            except InputError:
                raise
            except (RuntimeError, AssertionError, TypeError, ValueError) as error:
                raise InputError(
                    f"{type(network).__name__} cannot take images of {size}: {error} "
                    "Set the size in the data module, or task.input_size to have the task resize them."
                ) from error

    def _views(self, task: BaseTask, batch: Batch) -> Iterator[View]:
        streams = Streams(self.seed, tuple(batch["index"].tolist()))
        for craft in self.plan.crafts:
            self.at_work = f"{craft.attack}/{craft.through or 'none'}"
            attacked = self._craft(craft, task, batch, streams)
            for defence, shared in craft.shows.items():
                keys = tuple(condition.key for condition in shared)
                self.at_work = keys[0]
                draws = self._draws(attacked, defence, shared[0].draws, streams.child("defence"))
                yield View(keys, attacked, draws, str(defence or "t0"))

    def _craft(self, craft: Craft, task: BaseTask, batch: Batch, streams: Streams) -> Tensor:
        image = batch["image"]
        if craft.attack == CLEAN:
            return image
        attack = self.attacks[craft.attack]
        with torch.enable_grad(), torch.autocast(image.device.type, enabled=False):
            value = attack.objective.bind(task, batch, self._seen_through(craft.through))
            attacked = attack(image, value, streams.child("attack", craft.attack)).detach()
        _check_budget(attacked, image, attack, craft.attack)
        return attacked

    def _seen_through(self, level: NoiseLevel | None) -> Purify:
        if level is None:
            return lambda image, streams: image
        purifier = cast(Purifier, self.purifier)
        return lambda image, streams: purifier(image, level, streams)

    def _draws(
        self, attacked: Tensor, level: NoiseLevel | None, count: int, streams: Streams
    ) -> Iterator[Tensor]:
        """Purify with noise that no attack has seen; the same draw is the same noise at every level."""
        for draw in range(count):
            if level is None:
                yield attacked
            else:
                yield cast(Purifier, self.purifier)(attacked, level, streams.child(draw))


def _check_budget(attacked: Tensor, image: Tensor, attack: Attack, name: str) -> None:
    order = torch.inf if attack.norm == "linf" else 2
    spent = (attacked - image).flatten(1).norm(order, dim=1).max()
    if not (spent <= attack.eps + _TOLERANCE and attacked.min() >= 0 and attacked.max() <= 1):
        raise RuntimeError(
            f"attack {name} left its budget: {attack.norm} {spent:.6f} of {attack.eps:.6f}, values in "
            f"[{attacked.min():.4f}, {attacked.max():.4f}]; expected [0, 1]"
        )
