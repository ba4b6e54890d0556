import logging
from typing import Literal

import pyautoattack
import torch
from torch import Tensor

from dds.attacks.base import one_of
from dds.attacks.objectives import AttackedTask
from dds.attacks.one_image import OneByOne, OneImage
from dds.batch import Batch
from dds.errors import InputError

_NORMS = {"linf": "Linf", "l2": "L2"}
_LEAST_CLASSES = {"standard": 4, "plus": 4, "rand": 3}  # of the targeted and the untargeted DLR


class AutoAttack(OneByOne):
    """AutoAttack (Croce & Hein, ICML 2020) for classification, by its authors' own code (`pyautoattack`).

    The attacks come one after the other, each on the images that are still right; an image that is wrong from
    the start stays as it is. Images are attacked one by one (see `OneImage`). How often that calls the
    networks depends on how long an image holds out: some 8,000 times in the standard version if to the end.

    Args:
        eps: Budget in [0, 1] pixel units, e.g. `8/255`.
        norm: `linf` or `l2`.
        version: `standard`: APGD on the cross-entropy, APGD on the targeted DLR, targeted FAB, Square; at
            least 4 classes. `rand`: APGD on cross-entropy and DLR, gradients averaged over 20 draws; at least
            3 classes; the authors' choice for random defences, such as a diffusion purifier. `plus`: all,
            with more restarts.
    """

    def __init__(
        self,
        eps: float | str = "8/255",
        norm: Literal["linf", "l2"] = "linf",
        version: Literal["standard", "plus", "rand"] = "standard",
    ) -> None:
        super().__init__(eps)
        one_of("norm", norm, *_NORMS)
        one_of("version", version, *_LEAST_CLASSES)
        self.norm, self.version = norm, version

    def check(self, task: AttackedTask, batch: Batch) -> None:
        """Refuse what is no classification, and too few classes; see `Attack`."""
        if task.target != "label":
            raise InputError(
                f"AutoAttack is defined for classification; {type(task).__name__} is scored by "
                f"batch[{task.target!r}]. Choose APGD, for segmentation with the losses of SEA."
            )
        with torch.no_grad():
            classes = task(batch["image"]).shape[1]
        if classes < _LEAST_CLASSES[self.version]:
            raise InputError(
                f"AutoAttack {self.version} needs {_LEAST_CLASSES[self.version]} classes; the network knows "
                f"{classes}. Choose APGD with the objective Margin."
            )

    def craft_one(self, seen: OneImage) -> Tensor:
        """Attack one image; see `OneByOne`."""
        with torch.no_grad():
            classes = seen.logits(seen.image).shape[1]
        with seen.seeded() as seed:
            attack = self._attack(seen, classes, seed)
            found: Tensor = attack.run_standard_evaluation(seen.image, seen.batch["label"], batch_size=1)[0]
        return found

    def _attack(self, seen: OneImage, classes: int, seed: int) -> pyautoattack.AutoAttack:
        logging.getLogger("auto-attack").setLevel(logging.ERROR)  # it would warn at every image
        norm, device = _NORMS[self.norm], seen.image.device
        attack = pyautoattack.AutoAttack(
            seen.logits, eps=self.eps, norm=norm, seed=seed, version=self.version, device=device
        )
        for targeted in (attack.apgd_targeted, attack.fab):
            targeted.n_target_classes = min(targeted.n_target_classes, classes - 1)
        return attack
