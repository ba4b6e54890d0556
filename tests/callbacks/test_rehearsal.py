"""What is found out by one image, before the work starts."""

import pytest
import torch.nn.functional as F
from callbacks.test_attack_and_purify import Arrays, run
from callbacks.test_gradient_check import NoGradient
from conftest import TinyClassifier, TinyNoiseNetwork
from torch import nn

from dds.attacks import APGD, PGD, ArtAttack, AttackedImages
from dds.callbacks import AttackAndPurify
from dds.errors import InputError
from dds.protocol import Plan
from dds.purifiers import JPEG, Chain, DiffusionDenoiser, GaussianDenoiser
from dds.tasks import Classification


class BatchStatistics(TinyClassifier):
    """Normalises by its batch, also in evaluation mode."""

    def forward(self, image):
        return super().forward(F.batch_norm(image, None, None, training=True))


class AlwaysDropout(TinyClassifier):
    def forward(self, image):
        return super().forward(F.dropout(image, 0.5, training=True))


class NoisyDenoiser(TinyNoiseNetwork):
    def forward(self, noisy, t):
        return super().forward(F.dropout(noisy, 0.5, training=True), t)


def protocol(network=None, attack=None, levels=(145,), **options):
    attacks = {"pgd": attack or PGD(steps=1)}
    purifier = DiffusionDenoiser(network or TinyNoiseNetwork())
    return AttackAndPurify(purifier, levels, attacks=attacks, draws=1, **options)


def marked(table, mark):
    """Return the conditions of which all images are marked; no condition has some that are."""
    found = {}
    for (key, _, _), row in table.items():
        found.setdefault(key, set()).add(row[mark].item() if mark in row else 0)
    assert all(len(values) == 1 for values in found.values())
    return {key for key, values in found.items() if values == {1}}


def test_sound_networks_have_no_mark():
    table = run(protocol(), Arrays())
    for mark in ("not_a_function", "doubtful_gradient", "zero_gradient", "broken_gradient", "not_finite"):
        assert marked(table, mark) == set()


@pytest.mark.parametrize("network", [BatchStatistics(), AlwaysDropout()], ids=lambda one: type(one).__name__)
def test_a_task_network_that_is_no_function_of_the_image_is_marked_everywhere(network):
    table = run(protocol(), Arrays(), Classification(network))
    assert marked(table, "not_a_function") == {key for key, _, _ in table}


def test_a_denoiser_that_is_none_is_marked_behind_it_alone():
    table = run(protocol(NoisyDenoiser(), levels=[50, 145]), Arrays())
    assert marked(table, "not_a_function") == {key for key, _, _ in table if not key.endswith("/t0")}


def test_attacks_through_a_denoiser_without_its_gradient_are_marked():
    table = run(protocol(NoGradient(TinyNoiseNetwork()), levels=[10, 145]), Arrays())
    assert marked(table, "doubtful_gradient") == {"pgd/same/t10", "pgd/same/t145"}


def test_also_inside_a_chain():
    chain = Chain([DiffusionDenoiser(NoGradient(TinyNoiseNetwork())), JPEG()])
    chain.differentiable = True  # as of somebody's own transformation
    callback = AttackAndPurify(chain, [145], attacks={"pgd": PGD(steps=1)}, draws=1)
    assert run(callback, Arrays())["pgd/same/t145", 0, 0]["zero_gradient"].item() == 0


@pytest.mark.parametrize("attack", [PGD(steps=1), APGD(steps=1)], ids=lambda one: type(one).__name__)
def test_a_task_without_a_gradient_is_refused(attack):
    with pytest.raises(InputError, match=r"NoGradient has no gradient .*no_grad.*SquareAttack"):
        run(protocol(attack=attack), Arrays(), Classification(NoGradient(TinyClassifier())))


def test_a_purifier_without_a_gradient_is_refused_where_it_is_seen():
    purifier = GaussianDenoiser(NoGradient(nn.Conv2d(3, 3, 1)))
    blind = AttackAndPurify(purifier, [145], attacks={"pgd": PGD(steps=1)}, attacker_sees=["none"], draws=1)
    assert ("pgd/none/t145", 0, 0) in run(blind, Arrays())
    seeing = AttackAndPurify(purifier, [145], attacks={"pgd": PGD(steps=1)}, draws=1)
    with pytest.raises(InputError, match="GaussianDenoiser has no gradient"):
        run(seeing, Arrays())


def test_an_attack_that_needs_no_gradient_works_without():
    square = ArtAttack("art.attacks.evasion.SquareAttack", options={"max_iter": 2, "nb_restarts": 1})
    assert not square.needs_gradient
    table = run(protocol(attack=square), Arrays(images=2), Classification(NoGradient(TinyClassifier())))
    assert ("pgd/same/t145", 0, 1) in table


def test_attacks_that_are_not_at_work_are_not_tried():
    """As where a job measures the clean images alone."""
    callback = protocol(attack=AttackedImages("nowhere"))
    callback.plan = Plan.of(one for one in callback.plan.conditions if one.attack == "clean")
    assert {key for key, _, _ in run(callback, Arrays())} == {"clean/-/t0", "clean/-/t145"}


def test_attacks_of_other_libraries_that_climb_say_so():
    assert ArtAttack("art.attacks.evasion.ProjectedGradientDescent").needs_gradient


class Saturated(TinyClassifier):
    def forward(self, image):
        return 1e7 * super().forward(image)


class Rounded(TinyClassifier):
    def forward(self, image):
        return super().forward((image * 255).round() / 255)


@pytest.mark.parametrize("network", [Saturated(), Rounded()], ids=lambda one: type(one).__name__)
@pytest.mark.parametrize(
    "attack",
    [
        PGD(steps=2, random_start=False),
        APGD(steps=2, random_start=False),
        ArtAttack("art.attacks.evasion.FastGradientMethod"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_images_whose_gradient_is_zero_are_marked(network, attack):
    data = Arrays(images=3)
    right = network(data.image).argmax(1)
    data.load = lambda split: [{"image": i, "label": y} for i, y in zip(data.image, right, strict=True)]
    callback = AttackAndPurify(attacks={"a": attack}, attacker_sees=["none"])
    assert marked(run(callback, data, Classification(network)), "zero_gradient") == {"a/none/t0"}
