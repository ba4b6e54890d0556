"""Our attacks against other people's, from the same start with the same numbers.

ART's PGD and MI-FGSM are compared in `test_pgd`, `test_mi_fgsm` and `test_art_attack`, the loss functions of
AutoAttack in `test_margin`. No library here has SIA: `test_sia` compares its operations with numpy and scipy.
"""

import random
from importlib import import_module

import numpy as np
import pytest
import torch
from conftest import TinyClassifier, art_classifier

from dds.attacks import (
    APGD,
    DLR,
    MIFGSM,
    PGD,
    ArtAttack,
    AutoAttack,
    Margin,
    Patch,
    Square,
    TaskLoss,
    Universal,
)
from dds.attacks.apgd import CHECKPOINTS
from dds.attacks.libraries import auto_attack
from dds.attacks.libraries.one_image import OneImage
from dds.data.scenes import Scenes
from dds.noise import Streams
from dds.tasks import Classification

ROWS = tuple(range(8))
SHAPE = (len(ROWS), 3, 8, 8)
UNIFORM = torch.rand(SHAPE, generator=torch.Generator().manual_seed(9)).double()
UNIFORM[:, 0, 0, 0] = 0  # on the surface of the ball, where torchattacks' APGD starts
NORMAL = torch.randn(SHAPE, generator=torch.Generator().manual_seed(9)).double()


class Given(Streams):
    """The same numbers as the libraries get, whatever they are for; the radius of a start is the largest."""

    def uniform(self, like):
        return UNIFORM if like.shape == UNIFORM.shape else torch.ones_like(like)

    def normal(self, like):
        return NORMAL


class Watched(torch.nn.Module):
    """Keeps the points that a network was asked about."""

    def __init__(self, network):
        super().__init__()
        self.network, self.path = network, []

    def forward(self, image):
        self.path.append(image.detach().clone())
        return self.network(image)

    def take_path(self):
        """Return the points since the last time, `[points, B, 3, H, W]`."""
        path, self.path = torch.stack(self.path), []
        return path


class Steep(TinyClassifier):
    """The small network, of which images are now of several classes."""

    def forward(self, image):
        return super().forward(10 * image - 5)


class Hilly(Steep):
    """The same with many local maxima, where steps that are too long fall back."""

    def forward(self, image):
        return torch.sin(4 * super().forward(image))


class Noisy(torch.nn.Module):
    """A random defence and the network; two of them draw the same noise call by call."""

    def __init__(self):
        super().__init__()
        self.network, self.generator = Steep(), torch.Generator().manual_seed(4)

    def forward(self, image):
        return self.network(image + 0.3 * torch.randn(image.shape, generator=self.generator))


@pytest.fixture
def torchattacks():
    return pytest.importorskip("torchattacks")


@pytest.fixture
def autoattack():
    """Its authors' code."""
    return pytest.importorskip("pyautoattack")


@pytest.fixture
def apgd_attack(autoattack):
    return import_module("pyautoattack.autopgd_base").APGDAttack


@pytest.fixture
def float64():
    """Compute so exactly that paths of a hundred steps can be compared; the libraries take the default."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def network(float64):
    return Watched(Steep()).requires_grad_(False)


@pytest.fixture
def images(float64):
    """Images so far from black and white that no step of these budgets in L2 meets the range.

    Where one does, the order matters: ours is ART's, which clips to the range before it projects onto the
    ball; torchattacks and AutoAttack project first.
    """
    return 0.25 + 0.5 * torch.rand(SHAPE, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def labels(network, images):
    return classes_of(network, images)


@pytest.fixture
def same_numbers(labels, monkeypatch):
    """Give the libraries the numbers of `Given`, now that networks and images have theirs."""
    monkeypatch.setattr(torch, "rand", lambda *shape, **options: UNIFORM.clone())
    monkeypatch.setattr(torch, "randn", lambda *shape, **options: NORMAL.clone())
    monkeypatch.setattr(
        torch.Tensor, "uniform_", lambda self, low, high: self.copy_(low + (high - low) * UNIFORM)
    )


def bare(image, streams):
    return image


def classes_of(network, images):
    classes = network(images).argmax(1)
    network.take_path()
    return classes


def value_of(network, labels, objective=None):
    """Return an objective, default cross-entropy, as our optimisers take it."""
    return (objective or TaskLoss()).bind(Classification(network), {"label": labels}, bare)


# PGD and MI-FGSM


@pytest.mark.parametrize("random_start", [False, True])
def test_pgd_equals_torchattacks(torchattacks, same_numbers, network, images, labels, random_start):
    theirs = torchattacks.PGD(network, 8 / 255, 2 / 255, 10, random_start)(images, labels)
    attack = PGD("8/255", "2/255", 10, random_start=random_start)
    got = attack(images, value_of(network, labels), Given(0, ROWS))
    assert (got - images).abs().max() > 7 / 255
    assert torch.allclose(got, theirs, atol=1e-9)


def test_one_step_equals_torchattacks_fgsm(torchattacks, network, images, labels):
    theirs = torchattacks.FGSM(network, 8 / 255)(images, labels)
    attack = PGD("8/255", "8/255", 1, random_start=False)
    assert torch.allclose(attack(images, value_of(network, labels), Given(0, ROWS)), theirs, atol=1e-9)


def test_pgd_in_l2_equals_torchattacks(torchattacks, network, images, labels):
    """Without its start: there the radius is uniform, while ours makes the points uniform in the ball."""
    theirs = torchattacks.PGDL2(network, 0.2, 0.05, 10, random_start=False)(images, labels)
    attack = PGD(0.2, 0.05, 10, norm="l2", random_start=False)
    got = attack(images, value_of(network, labels), Given(0, ROWS))
    assert (got - images).flatten(1).norm(dim=1).min() > 0.19
    assert torch.allclose(got, theirs, atol=1e-7)  # they add 1e-10 to the gradient's length


def test_pgd_in_l2_reaches_what_torchattacks_reaches_at_the_range(torchattacks, network):
    """Of black and white images, on which the two clip and project in another order."""
    images = torch.rand(SHAPE, generator=torch.Generator().manual_seed(3)).round()
    labels = classes_of(network, images)
    theirs = torchattacks.PGDL2(network, 0.7, 0.1, 20, random_start=False)(images, labels)
    value = value_of(network, labels)
    got = PGD(0.7, 0.1, 20, norm="l2", random_start=False)(images, value, Given(0, ROWS))
    before, ours, reached = (value(image, None) for image in (images, got, theirs))
    assert (got - theirs).abs().max() > 1e-4
    assert (reached - before).min() > 0.2
    assert ours.tolist() == pytest.approx(reached.tolist(), rel=0.005)


def test_pgd_over_noise_equals_torchattacks_eotpgd(torchattacks, images, labels):
    theirs = torchattacks.EOTPGD(Noisy(), 8 / 255, 2 / 255, 5, eot_iter=4, random_start=False)(images, labels)
    attack = PGD("8/255", "2/255", 5, eot=4, random_start=False)
    got = attack(images, value_of(Noisy().requires_grad_(False), labels), Given(0, ROWS))
    assert torch.allclose(got, theirs, atol=1e-9)


@pytest.mark.parametrize(("alpha", "decay"), [(0.8 / 255, 1.0), (2 / 255, 0.5)])
def test_mi_fgsm_equals_torchattacks(torchattacks, network, images, labels, alpha, decay):
    theirs = torchattacks.MIFGSM(network, 8 / 255, alpha, 10, decay)(images, labels)
    got = MIFGSM("8/255", alpha, 10, decay)(images, value_of(network, labels), Given(0, ROWS))
    assert (got - images).abs().max() > 7 / 255
    assert torch.allclose(got, theirs, atol=1e-9)


# APGD. The code of AutoAttack, which torchattacks copies, departs from the paper and so from ours where
# - checkpoints are rounded: in 100 steps, as here, both judge at the same;
# - rises are counted: the first after a return to the best point is over the point that was left, the very
#   first is over 0, and exactly rho times the steps are too few. This can halve a step at one checkpoint and
#   not at the other's, so that a path parts there, and nowhere else;
# - lengths and the DLR's quotient get 1e-12 added;
# - `perturb` answers with the last misclassified point; `attack_single_run`, which is asked here, also with
#   the largest loss, as ours does.

CASES = pytest.mark.parametrize(
    ("norm", "eps", "loss", "objective"),
    [
        ("Linf", 0.1, "ce", TaskLoss()),
        ("Linf", 0.1, "dlr", DLR()),
        ("L2", 0.05, "ce", TaskLoss()),
        ("L2", 0.02, "dlr", DLR()),  # so near that logits keep their order: at a kink, rounding decides
    ],
)


def check_paths(ours, theirs, parting):
    """Check that paths `[points, B, ...]` of at most so many images part, and right after a checkpoint.

    Equal points mean equal steps: each step's length is that of the one before, or half of it.
    """
    apart = (ours - theirs).abs().flatten(2).amax(2) > 1e-6  # (points, B)
    first = apart.int().argmax(0)[apart.any(0)]
    assert set(first.tolist()) <= {checkpoint + 1 for checkpoint in CHECKPOINTS}
    assert len(first) <= parting


@CASES
def test_apgd_takes_the_steps_of_autoattack(apgd_attack, network, images, labels, norm, eps, loss, objective):
    theirs = apgd_attack(network, n_iter=100, norm=norm, eps=eps, loss=loss, seed=0, device="cpu")
    theirs.init_hyperparam(images)
    _, _, reached, _ = theirs.attack_single_run(images, labels, x_init=images)
    path, value = network.take_path(), value_of(network, labels, objective)
    got = APGD(eps, 100, norm.lower(), random_start=False)(images, value, Given(0, ROWS))
    check_paths(network.take_path(), path, parting=1)
    assert value(got, None).tolist() == pytest.approx(reached.tolist(), rel=1e-4)


@CASES
def test_apgd_takes_the_steps_of_torchattacks(
    torchattacks, same_numbers, network, images, labels, norm, eps, loss, objective
):
    """From a random start on the surface of the ball."""
    theirs = torchattacks.APGD(network, norm, eps, steps=100, loss=loss)
    _, _, reached, _ = theirs.attack_single_run(images, labels)
    path, value = network.take_path(), value_of(network, labels, objective)
    got = APGD(eps, 100, norm.lower())(images, value, Given(0, ROWS))
    assert not torch.equal(path[0], images)
    check_paths(network.take_path(), path, parting=1)
    assert value(got, None).tolist() == pytest.approx(reached.tolist(), rel=1e-4)


def test_apgd_reaches_what_autoattack_reaches_among_hills(apgd_attack, images):
    """Where steps fall back, more paths part; what they reach stays as high."""
    network = Watched(Hilly()).requires_grad_(False)
    labels = classes_of(network, images)
    theirs = apgd_attack(network, n_iter=100, norm="Linf", eps=0.1, loss="ce", seed=0, device="cpu")
    theirs.init_hyperparam(images)
    _, _, reached, _ = theirs.attack_single_run(images, labels, x_init=images)
    path, value = network.take_path(), value_of(network, labels)
    got = APGD(0.1, 100, random_start=False)(images, value, Given(0, ROWS))
    check_paths(network.take_path(), path, parting=4)
    assert value(got, None).mean().item() == pytest.approx(reached.mean().item(), rel=0.01)


# Attacks that run other people's code: what stands between changes nothing


@pytest.fixture
def task():
    return Classification(Steep()).requires_grad_(False)


@pytest.fixture
def few(task):
    """A batch of three images and their right classes, in the default precision."""
    images = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    return {"image": images, "label": task(images).argmax(1)}


def alone(task, batch):
    """Yield each image as the attack sees it, with the seed of its numbers in force."""
    for seen in OneImage.each(task, batch, [bare], Streams(0, ROWS[:3])):
        with seen.seeded() as seed:
            yield seed, seen.image, seen.batch["label"]


@pytest.mark.parametrize(("norm", "order", "eps"), [("linf", np.inf, 0.1), ("l2", 2, 0.7)])
def test_square_equals_art(task, few, norm, order, eps):
    from art.attacks.evasion import SquareAttack

    options = {"max_iter": 30, "nb_restarts": 2}
    theirs = SquareAttack(art_classifier(Steep()), norm=order, eps=eps, **options, verbose=False)
    expected = [theirs.generate(x.numpy(), np.eye(4)[label.numpy()]) for _, x, label in alone(task, few)]
    attack = ArtAttack("art.attacks.evasion.SquareAttack", eps, norm, options)
    got = attack.craft(task, few, [bare], Streams(0, ROWS[:3]))
    assert (got - few["image"]).abs().max() > 0.05
    assert torch.allclose(got, torch.from_numpy(np.concatenate(expected)), atol=1e-6)


# AutoAttack and Square: ours take other random numbers, and AutoAttack leaves FAB out


def margins_of(network, images, labels):
    with torch.no_grad():
        logits = network(images)
    return logits.scatter(1, labels[:, None], -torch.inf).amax(1) - logits.gather(1, labels[:, None])[:, 0]


@pytest.fixture
def ten():
    """Ten images, and what the network says of them for their classes."""
    network = Steep().requires_grad_(False)
    images = torch.rand(10, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    return {"image": images, "label": network(images).argmax(1)}


@pytest.mark.parametrize(("norm", "eps"), [("Linf", 0.05), ("L2", 0.3)])
def test_square_reaches_what_its_authors_code_reaches(autoattack, ten, norm, eps):
    """It stops at a wrong class, so what is compared is how near to one the images come that withstand."""
    network, (images, labels) = Steep().requires_grad_(False), ten.values()
    task = Classification(network)
    theirs = import_module("pyautoattack.square").SquareAttack(
        network, norm=norm, eps=eps, n_queries=200, seed=0, device="cpu", resc_schedule=True, verbose=False
    )
    theirs.init_hyperparam(images)
    torch.manual_seed(0)
    reached = margins_of(network, theirs.attack_single_run(images, labels)[1], labels)
    attack = Square(eps, 200, norm.lower(), objective=Margin())
    got = margins_of(network, attack.craft(task, ten, [bare], Streams(0, tuple(range(10)))), labels)
    before = margins_of(network, images, labels)
    risen = (got - before).clamp(max=-before), (reached - before).clamp(max=-before)
    assert risen[0].mean().item() == pytest.approx(risen[1].mean().item(), rel=0.1)


@pytest.mark.parametrize(
    ("version", "norm", "eps"), [("standard", "Linf", 0.02), ("standard", "L2", 0.12), ("rand", "Linf", 0.02)]
)
def test_autoattack_breaks_what_its_authors_code_breaks(autoattack, ten, version, norm, eps, monkeypatch):
    if version == "rand":  # as many draws of nothing random
        monkeypatch.setattr(auto_attack, "_EOT", 1)
    network, (images, labels) = Steep().requires_grad_(False), ten.values()
    theirs = autoattack.AutoAttack(network, eps=eps, norm=norm, seed=0, version=version)
    theirs.apgd.eot_iter = 1
    theirs.square.n_queries = 100
    theirs.apgd_targeted.n_target_classes = theirs.fab.n_target_classes = 3  # all others
    expected = network(theirs.run_standard_evaluation(images, labels)[0]).argmax(1) == labels
    monkeypatch.setattr(auto_attack, "_QUERIES", 100)
    attack = AutoAttack(eps, norm.lower(), version)
    got = network(attack.craft(Classification(network), ten, [bare], Streams(0, tuple(range(10)))))
    assert 0 < expected.sum() < 10
    assert torch.equal(got.argmax(1) == labels, expected)


class Grey(Streams):
    """Begins where ART's patches do."""

    def uniform(self, like):
        return torch.full_like(like, 0.5)


@pytest.mark.parametrize("steps", [1, 8])
def test_patch_is_art_s_after_a_step_and_no_weaker_after_more(steps):
    """On all of the image, as ART resizes smaller ones; from the second step on it adds gradients up."""
    from art.attacks.evasion import AdversarialPatchPyTorch

    torch.manual_seed(0)
    task = Classification(Steep()).requires_grad_(False)
    images = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    batch = {"image": images, "label": task(images).argmax(1)}
    attack = Patch(side=1, place="corner", step_size=0.1, steps=steps)
    ours = attack.craft(task, batch, [lambda image, streams: image], Grey(0, (0, 1, 2)))
    still = {"rotation_max": 0.0, "patch_location": (0, 0), "patch_shape": (3, 8, 8), "patch_type": "square"}
    given = {"learning_rate": 0.1, "max_iter": steps, "optimizer": "pgd", "targeted": False, "verbose": False}
    theirs = torch.empty_like(ours)
    for place, image in enumerate(images):  # theirs is one for all images
        made = AdversarialPatchPyTorch(art_classifier(task.model), **still, **given)
        answer = torch.nn.functional.one_hot(batch["label"][place], 4)[None]
        theirs[place] = torch.from_numpy(made.generate(image[None].numpy(), answer.numpy())[0])
    if steps == 1:
        torch.testing.assert_close(ours, theirs)
    assert (task.image_loss(ours, batch) >= 0.99 * task.image_loss(theirs, batch)).all()
    assert (task.image_loss(theirs, batch) > task.image_loss(torch.full_like(images, 0.5), batch)).all()


def test_a_universal_perturbation_is_no_weaker_than_art_s(tmp_path):
    """On the images that both are made on, and on others, of a network that knows what they show."""
    from art.attacks.evasion import UniversalPerturbation
    from art.estimators.classification import PyTorchClassifier

    task = Classification("zoo:scenes-classification").eval().requires_grad_(False)
    data = Scenes(train_images=24, test_images=24, batch_size=24)
    batches = [next(iter(loader)) for loader in (data.some_training_batches(24, 24), data.test_dataloader())]
    image, label = batches[0]["image"], batches[0]["label"]
    classes = task(image[:1]).shape[1]
    estimator = PyTorchClassifier(
        task, torch.nn.CrossEntropyLoss(), (3, 64, 64), classes, clip_values=(0, 1), device_type="cpu"
    )
    art = UniversalPerturbation(
        estimator, "fgsm", {"eps": 4 / 255}, delta=0.0, max_iter=2, eps=4 / 255, verbose=False
    )
    random.seed(0)
    art.generate(image.numpy(), label.numpy())
    attack = Universal("4/255", images=24, batch_size=12, folder=str(tmp_path))
    attack.prepare(data)
    right = []
    for batch in batches:
        ours = attack.craft(task, batch, [bare], Streams(0, tuple(range(24))))
        theirs = (batch["image"] + torch.from_numpy(art.noise)).clamp(0, 1)
        shown = (batch["image"], theirs, ours)
        right.append([(task(one).argmax(1) == batch["label"]).sum().item() for one in shown])
    assert right[0][1] < right[0][0]  # theirs works, too
    assert all(ours <= theirs and ours < clean for clean, theirs, ours in right)
