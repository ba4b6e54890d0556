import numpy as np
import pytest
import torch
from callbacks.test_attack_and_purify import Arrays, run
from conftest import TinyClassifier

from dds.attacks import APGD, MIFGSM, PGD, SIA, ArtAttack, LowFrequency
from dds.attacks.broken_gradients import finite, watch_gradients
from dds.callbacks import AttackAndPurify
from dds.noise import Streams
from dds.tasks import Classification


class BrokenForBright(TinyClassifier):
    """Smooth, but where an image's first pixel is above a half, the gradient of its last is not a number."""

    def forward(self, image):
        last = 0 * image[:, :, -1:, -1:]
        broken = torch.where(image[:, :, :1, :1] > 0.5, last, 1.0).sqrt()  # at 0, its slope is inf * 0
        return super().forward(image) + broken.sum((1, 2, 3))[:, None]


def images(first):
    image = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    image[:, :, 0, 0] = torch.tensor(first)[:, None]
    return image


def test_the_gradient_goes_on_without_what_is_not_finite():
    gradient = torch.tensor([[1.0, torch.nan], [torch.inf, -torch.inf], [2.0, 3.0]]).reshape(3, 1, 1, 2)
    with watch_gradients() as broken:
        repaired = finite(gradient, Streams(0, (7, 8, 9)))
    assert repaired.flatten(1).tolist() == [[1, 0], [0, 0], [2, 3]]
    assert broken.among(torch.tensor([9, 8, 7]))["broken_gradient"].tolist() == [0, 1, 1]


def test_nobody_has_to_watch():
    assert finite(torch.full((1, 3, 2, 2), torch.nan), Streams(0, (0,))).eq(0).all()


@pytest.mark.parametrize(
    "attack",
    [
        PGD(steps=2, step_size="8/255", random_start=False),
        MIFGSM(steps=2),
        SIA(steps=2, copies=2, blocks=2, operations=["scale"]),
        APGD(steps=4),
        LowFrequency(PGD(steps=2), [4, 2]),
        ArtAttack("art.attacks.evasion.FastGradientMethod"),
    ],
    ids=lambda attack: type(attack).__name__,
)
def test_images_with_broken_gradients_are_marked_and_the_others_attacked_as_ever(attack):
    callback = AttackAndPurify(attacks={"a": attack}, attacker_sees=["none"])
    data = Arrays(batch_size=4, image=images([0.1, 0.9, 0.1, 0.9]))
    table = run(callback, data, Classification(BrokenForBright()))
    rows = [table["a/none/t0", 0, image] for image in range(4)]
    np.testing.assert_array_equal([row["broken_gradient"] for row in rows], [0, 1, 0, 1])
    assert all(torch.isfinite(row["linf"]) for row in rows)
    assert rows[0]["linf"] > 4 / 255
    assert "broken_gradient" not in table["clean/-/t0", 0, 0]
