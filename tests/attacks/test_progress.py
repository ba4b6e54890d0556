"""Every optimiser tells a scheduled value how far it is."""

import pytest
import torch

from dds.attacks.apgd import APGD
from dds.attacks.mi_fgsm import MIFGSM
from dds.attacks.objectives.base import Scheduled, at, average
from dds.attacks.pgd import PGD
from dds.attacks.sia import SIA
from dds.noise import Streams


class Recorder(Scheduled):
    def __init__(self, progress=1.0, told=None):
        self.progress, self.told = progress, [] if told is None else told

    def __call__(self, image, streams):
        self.told.append((self.progress, torch.is_grad_enabled()))
        return image.flatten(1).sum(1)

    def at(self, progress):
        return Recorder(progress, self.told)


def told(attack):
    value = Recorder()
    attack(torch.full((1, 3, 4, 4), 0.5), value, Streams(0, (0,)))
    return value.told


@pytest.mark.parametrize("attack", [PGD(steps=5), MIFGSM(steps=5), SIA(steps=5, copies=1)])
def test_a_step_is_told_the_share_of_steps_before_it(attack):
    assert [progress for progress, _ in told(attack)] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])


def test_restarts_begin_anew_and_are_compared_at_the_end():
    climbed = [progress for progress, gradient in told(PGD(steps=2, restarts=2)) if gradient]
    compared = [progress for progress, gradient in told(PGD(steps=2, restarts=2)) if not gradient]
    assert climbed == [0, 0.5, 0, 0.5]
    assert compared == [1, 1]


def test_apgd_looks_before_the_first_and_after_each_step():
    assert [progress for progress, _ in told(APGD(steps=4))] == [0, 0.25, 0.5, 0.75, 1]


def test_stages_of_sea_share_one_course():
    progress = [progress for progress, _ in told(APGD(steps=10, schedule="sea"))]
    assert progress == pytest.approx([0, 0.1, 0.2, 0.3, 0.3, 0.4, 0.5, 0.6, 0.6, 0.7, 0.8, 0.9, 1])


def test_values_without_a_schedule_stay_as_they_are():
    value = lambda image, streams: image  # noqa: E731
    assert at(value, 0.3) is value


def test_the_average_of_values_tells_each_of_them_and_takes_the_mean():
    values = [Recorder(), Recorder(), lambda image, streams: 3 * image.flatten(1).sum(1)]
    image = torch.ones(2, 3, 1, 1)
    assert at(average(values), 0.25)(image, None).tolist() == [5.0, 5.0]
    assert [value.told[0][0] for value in values[:2]] == [0.25, 0.25]
    assert average(values[:1]) is values[0]
