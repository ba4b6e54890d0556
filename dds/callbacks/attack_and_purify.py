from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Literal, cast, get_args

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.table import Table
from torch import Tensor

from dds.attacks import Attack
from dds.attacks.base import TOLERANCE, one_of, surrogates_of
from dds.attacks.broken_gradients import watch_gradients
from dds.batch import DOUBTFUL_GRADIENT, NOT_A_FUNCTION, Batch, View, check_batch
from dds.callbacks.rehearsal import Findings, rehearse
from dds.callbacks.repeatable import repeatable
from dds.controls import Control
from dds.errors import InputError
from dds.models.precision import to_precision
from dds.noise import Streams
from dds.numbers import whole
from dds.protocol import (
    CLEAN,
    NOTHING,
    Condition,
    Cost,
    Craft,
    Defence,
    Defences,
    Given,
    Plan,
    list_conditions,
    several,
)
from dds.purifiers import Purifier
from dds.store import Crafted, KnownCrafts
from dds.tasks import BaseTask
from dds.tasks.base import PurifyDatabase
from dds.tasks.distributed import gather

Precision = Literal["32-true", "bf16-mixed"]

_LONG = 4.0  # times eps; steps longer than twice eps lead from anywhere to the edge


class AttackAndPurify(Callback):
    """Shows a task its test images attacked and purified; the one place where task, attack and purifier meet.

    Each batch gets an iterator of views (`Batch.views`); a view is made when the task asks for it.

    Args:
        purifier: What is evaluated as a defence at several noise levels; none: only the named defences.
        noise_levels: Levels of the purifier, t or `{sigma: 0.25}`; no defence (0) is always run.
        defences: Further defences by name, without noise levels, e.g. JPEG or resizing.
        attacks: Attacks by name.
        controls: Transformations without an attacker by name, e.g. brightness; evaluated like attacks.
        attacker_sees: What the attacker differentiates through: `none` (the bare task); `same` (the defence
            in use); `fixed_noise` (the defence in use and the very noise of each draw); a level or a
            defence's name: that one, whatever is in use; a list of them: their average.
        draws: Fresh noise draws on which each view through a random defence is evaluated.
        eight_bit: Whether each attacked image is evaluated once more as an 8-bit file would hold it, under
            the attack's name with `@8bit`; rounding may leave the budget by half a grey level.
        compile: Whether the purifiers' networks are compiled (`torch.compile`): faster after minutes of
            compilation, and rounded differently. The task's is not, as features are read inside it.
        attack_precision: In which precision attacks look at the networks, whatever `trainer.precision` is
            for the evaluation: `32-true`, or `bf16-mixed`, which is faster, rounds their gradients and may
            weaken them; the report says so.
        seed: Seed of all random numbers of attacks and purifiers.
    """

    purpose: ClassVar[str] = "defence"
    """What the noise is drawn for that the task's answers are measured on."""

    def __init__(
        self,
        purifier: Purifier | None = None,
        noise_levels: Sequence[int | float | dict[str, float]] = (10, 50, 145, 259, 396),
        defences: dict[str, Purifier] | None = None,
        attacks: dict[str, Attack] | None = None,
        controls: dict[str, Control] | None = None,
        attacker_sees: Sequence[Given | list[Given]] = ("none", "same"),
        draws: int = 3,
        eight_bit: bool = False,
        compile: bool = False,
        attack_precision: Precision = "32-true",
        seed: int = 0,
    ) -> None:
        self.defences = Defences(purifier, noise_levels, defences or {})
        self.attacks, self.controls = attacks or {}, controls or {}
        self.compile, self.attack_precision = compile, attack_precision
        one_of("attack_precision", attack_precision, *get_args(Precision))
        self.seed, self.draws = whole("seed", seed, least=None), whole("draws", draws)
        names = [*self.attacks, *self.controls]
        for name in names:
            if name == CLEAN or not name or {"/", "@"} & set(name) or names.count(name) > 1:
                raise InputError(
                    f"an attack or control cannot be called {name!r}; choose a name without '/' and '@', for "
                    "one of them only, not 'clean'."
                )
        for name, attack in self.attacks.items():
            if attack.norm == "linf" and attack.eps > 1:
                raise InputError(
                    f"attack {name} has eps={attack.eps:g}; expected at most 1, as images are in [0, 1]. "
                    f"Did you mean {attack.eps:g}/255?"
                )
        sights = [self.defences.sight(given) for given in several("attacker_sees", attacker_sees)]
        if self.attacks and not sights:
            raise InputError("attacker_sees is empty; expected some of none, same, a noise level.")
        conditions = list_conditions(
            self.attacks, sights, self.defences.all, self.draws, self.controls, eight_bit
        )
        sensible = map(self._as_seen, filter(self._makes_sense, conditions))
        self.plan = Plan.of(dict.fromkeys(sensible))
        for name in set(self.attacks) - {condition.attack for condition in self.plan.conditions}:
            raise InputError(
                f"attack {name} attacks the purifier but never sees one; name a purifier and noise levels, "
                "and let attacker_sees hold same or a noise level."
            )
        self.at_work = ""
        self.known: KnownCrafts | None = None
        """Where attacked images are looked for before they are made, and kept; None: nowhere."""
        self._findings = Findings()
        self._while_testing = ExitStack()

    @property
    def purifier(self) -> Purifier | None:
        """What works at noise levels."""
        return self.defences.purifier

    @property
    def surrogates(self) -> dict[str, BaseTask]:
        """Tasks that attacks call besides the one they attack, or in its place, by their names."""
        return surrogates_of(self.attacks)

    def _makes_sense(self, condition: Condition) -> bool:
        attack = self.attacks.get(condition.attack)
        return attack is None or bool(condition.through) or not attack.needs_purifier

    def _as_seen(self, condition: Condition) -> Condition:
        """Return a condition as that of an attacker who sees nothing, where it makes no difference."""
        attack = self.attacks.get(condition.attack)
        if attack is None or attack.sees_defence:
            return condition
        return replace(condition, attacker_sees=NOTHING.name, through=(), fixed_noise=False)

    @property
    def cost(self) -> Cost:
        """Network calls for one image, as far as they are known beforehand."""
        return self.plan.cost(self.attacks, self.defences.spend)

    @property
    def is_open(self) -> bool:
        """Whether some attack's calls show only as it goes on."""
        return self.plan.is_open(self.attacks)

    def describe(self, doubts: Iterable[str] = (), known: Sequence[str] | None = None) -> Table:
        """Return the plan as a table, above what may not have been meant and what is made beforehand.

        Args:
            doubts: Those of the task.
            known: For each craft, how many of its images are in the store.
        """
        table = self.plan.table(self.attacks, self.defences.spend, known)
        table.caption = "\n".join([*doubts, *self._doubts(), *self._beforehand()]) or None
        return table

    def _doubts(self) -> Iterator[str]:
        for name, surrogate in self.surrogates.items():
            yield f"calls of the {name}, {type(surrogate.model).__name__}, are counted as the task's."
            yield from (f"{name}: {doubt}".replace("task.", "surrogate.") for doubt in surrogate.doubts)
        if self.purifier is not None and not any(defence.level for defence in self.defences.all):
            yield "noise_levels holds no level above 0: the purifier is not evaluated."
        for name, attack in self.attacks.items():
            step = getattr(attack, "step_size", 0.0)
            if step > _LONG * attack.eps > 0:
                times = step / attack.eps
                yield f"attack {name}: a step of {step:.4g} is {times:.3g} times eps={attack.eps:.4g}."

    def _beforehand(self) -> Iterator[str]:
        for name, attack in self.attacks.items():
            if attack.beforehand:
                yield f"attack {name}: {attack.beforehand}."

    def costs(self, known: Sequence[str] | None = None) -> dict[str, Any]:
        """Return the plan in numbers; see `Plan.costs`."""
        return self.plan.costs(self.attacks, self.defences.spend, known)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check trainer and task, and freeze its network."""
        if trainer.test_loop.inference_mode:
            raise InputError(
                "the trainer runs tests in inference mode, in which attacks get no gradients; "
                "expected Trainer(inference_mode=False). Remove trainer.inference_mode from the command."
            )
        for name, control in self.controls.items():
            if control.moves_pixels and cast(BaseTask, pl_module).localised:
                raise InputError(
                    f"control {name} moves what the image shows, but not the targets of "
                    f"{type(pl_module).__name__}; expected one that leaves them in place, such as Brightness."
                )
        pl_module.requires_grad_(False)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put all networks where the task is, and let it and the attacks prepare themselves."""
        self._while_testing.enter_context(repeatable(pl_module.device))
        task, dtype = cast(BaseTask, pl_module), cast(torch.dtype, pl_module.dtype)
        data = cast(Any, trainer).datamodule
        to_precision(task.model, dtype)
        self.place(pl_module.device, dtype)
        for surrogate in self.surrogates.values():
            surrogate.goes_on = task.goes_on
        for attack in self.plan.attacks(self.attacks):
            attack.prepare(data)
        purify = {str(defence or "t0"): self._of_database(defence) for defence in (None, *self.defences.all)}
        task.prepare(data, purify)
        for attack in self.attacks.values() if not task.goes_on else ():
            attack.meet([task, *self.defences.purifiers])
        if self.known is not None and not task.goes_on:
            things = [task, *self.defences.purifiers, *self.attacks.values()]
            self.known.begin(things, gather([self.known.searched]))

    def place(self, device: torch.device, dtype: torch.dtype) -> None:
        """Put purifiers, controls and surrogates on a device, ready for use."""
        surrogates = self.surrogates.values()
        for surrogate in surrogates:
            to_precision(surrogate.model, dtype)
        for module in (*self.defences.purifiers, *self.controls.values(), *surrogates):
            module.to(device, dtype).eval().requires_grad_(False)
        for network in self.defences.networks if self.compile else ():
            if "forward" not in vars(network):  # once, though there may be several pieces of work
                network.forward = torch.compile(network.forward)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave torch's settings as they were."""
        self._while_testing.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave them so after an error, too."""
        self._while_testing.close()

    def eagerly(self) -> AbstractContextManager[Any]:
        """Have nothing compiled for batches of a size that does not come again."""
        return torch.compiler.set_stance("force_eager") if self.compile else nullcontext()

    def _of_database(self, defence: Defence | None) -> PurifyDatabase:
        def purify(image: Tensor, index: Tensor) -> Tensor:
            if self.known is not None and defence is None:
                self.known.meet_searched(image, index)
            streams = Streams(self.seed, tuple(index.tolist()), ("database",))
            return self.defences.purify(defence, image, streams)

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
        check_batch(batch, task.target)
        if batch_idx == 0:
            with self.eagerly():
                found = rehearse(task, batch, self.defences, self.attacks, self.plan)
            self._findings = gather([found])[0]  # the same on all processes
        batch["views"] = self._views(task, batch)

    def _views(self, task: BaseTask, batch: Batch) -> Iterator[View]:
        streams = Streams(self.seed, tuple(batch["index"].tolist()))
        for craft in self.plan.crafts:
            self.at_work = f"{craft.attack}/{craft.seen}"
            for first_draw in range(craft.images):
                attacked, marks = self._craft(craft, task, batch, streams, first_draw)
                for (defence, eight_bit), shared in craft.shows.items():
                    image = _stored(attacked) if eight_bit else attacked
                    keys = tuple(condition.key for condition in shared)
                    self.at_work = keys[0]
                    count = 1 if craft.fixed_noise else shared[0].draws
                    numbers = range(first_draw, first_draw + count)
                    shown = self._draws(image, defence, numbers, streams.child(self.purpose_of(craft)))
                    unsteady = self._findings.unsteady & {"t0", str(defence or "t0")}
                    marked = marks | _marks(len(image), NOT_A_FUNCTION, bool(unsteady))
                    yield View(keys, image, shown, str(defence or "t0"), first_draw, marked)

    def _craft(self, craft: Craft, task: BaseTask, batch: Batch, streams: Streams, draw: int) -> Crafted:
        image = batch["image"]
        if craft.attack == CLEAN:
            return image, {}
        if craft.attack in self.controls:
            return self.controls[craft.attack](image.clone(), streams.child("control", craft.attack)), {}
        attack = craft.at_work(self.attack_of(craft))
        make = partial(self._attack, craft, attack, task, batch, streams, draw)
        names = self.names_of(craft, task, batch, draw)
        attacked, marks = self.known.get(names, image, make) if self.known is not None else make()
        _check_budget(attacked, image, attack, craft.attack)
        seen = {(craft.attack, str(defence)) for defence in craft.through or ("t0",)}
        doubtful = bool(self._findings.doubtful & seen)
        return attacked, marks | _marks(len(image), DOUBTFUL_GRADIENT, doubtful)

    def _attack(
        self, craft: Craft, attack: Attack, task: BaseTask, batch: Batch, streams: Streams, draw: int
    ) -> Crafted:
        image = batch["image"]
        known = streams.child(self.purpose, draw) if craft.fixed_noise else None
        own = cast(Batch, {**batch, "image": image.clone()})  # an attack may work in place
        in_bf16 = self.attack_precision == "bf16-mixed"
        precision = torch.autocast(image.device.type, torch.bfloat16, enabled=in_bf16)
        with torch.enable_grad(), precision, watch_gradients() as faults:
            seen = [self.defences.through(defence, known) for defence in craft.through or (None,)]
            attacked = attack.craft(task, own, seen, streams.child("attack", craft.attack)).detach()
        return attacked, faults.among(batch["index"])

    def names_of(self, craft: Craft, task: BaseTask, batch: Batch, draw: int) -> list[str]:
        """Return by what the images of a craft are known; nothing where none are looked for.

        Args:
            craft: What is made.
            task: The task, prepared for its tests.
            batch: Images and targets.
            draw: Number of the draw whose noise the attacker knows, if it does.
        """
        if self.known is None:
            return []
        attack = self.attack_of(craft)
        seen = [task, *map(self.defences.purifier_of, craft.through)]
        levels = [defence.level for defence in craft.through]
        noise = (self.purpose, draw) if craft.fixed_noise else None
        is_whole = craft.at_work(attack) is attack  # else it takes but one noise draw
        settings = (self.seed, craft.attack, levels, noise, is_whole, self.compile, self.attack_precision)
        return self.known.names(attack, seen, settings, batch)

    def attack_of(self, craft: Craft) -> Attack:
        """Return the attack that makes an image."""
        return self.attacks[craft.attack]

    def purpose_of(self, craft: Craft) -> str:
        """Return what the noise is drawn for that an image is shown through."""
        return self.purpose

    def _draws(
        self, attacked: Tensor, defence: Defence | None, numbers: Iterable[int], streams: Streams
    ) -> Iterator[Tensor]:
        """Purify with noise that no other attack has seen; a draw is the same noise at every level."""
        for number in numbers:
            yield self.defences.purify(defence, attacked, streams.child(number))


def _marks(images: int, mark: str, found: bool) -> dict[str, Tensor]:
    """Mark all images, or none."""
    return {mark: torch.full((images,), float(found))}


def _stored(image: Tensor) -> Tensor:
    """Return an image as it comes out of an 8-bit file."""
    return (image * 255).round() / 255


def _check_budget(attacked: Tensor, image: Tensor, attack: Attack, name: str) -> None:
    spent = attack.spent(attacked, image).max()
    if not (spent <= attack.eps + TOLERANCE and attacked.min() >= 0 and attacked.max() <= 1):
        raise RuntimeError(
            f"attack {name} left its budget: {attack.norm} {spent:.6f} of {attack.eps:.6f}, values in "
            f"[{attacked.min():.4f}, {attacked.max():.4f}]; expected [0, 1]"
        )
