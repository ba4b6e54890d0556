"""Attacks made on another network of the same task."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import yaml
from callbacks.test_attack_and_purify import Arrays, Collector, run, trainer
from callbacks.test_gradient_check import NoGradient
from callbacks.test_rehearsal import marked
from conftest import TinyClassifier, TinyNoiseNetwork, TinySegmenter
from store.test_store import run as run_with_store
from tasks.test_retrieval import Pictures
from test_cli import conditions, in_folder, run_evaluate  # noqa: F401
from torch import nn

import dds
from dds.attacks import MIFGSM, PGD, AttackedImages, FeatureDistance, Patch, Square, Transfer, WorstOf
from dds.attacks.objectives.base import Calls
from dds.callbacks import AttackAndPurify, NetworkProgress
from dds.data import Scenes
from dds.errors import InputError
from dds.models.zoo import resolve
from dds.noise import Streams
from dds.purifiers import DiffusionDenoiser
from dds.runs.provenance import weights_hash
from dds.tasks import Classification, ImageRetrieval, MultiLabelClassification, SemanticSegmentation

pytestmark = pytest.mark.usefixtures("without_figures")

WITHIN = {"attacker_sees": ["none", "same"], "draws": 1}


def bare(image, streams):
    return image


def protocol(attack, **options):
    """Both named alike: an attack's random numbers hang on its name."""
    purifier = DiffusionDenoiser(TinyNoiseNetwork())
    return AttackAndPurify(purifier, [145], attacks={"pgd": attack}, **WITHIN, **options)


def other(seed=7):
    """A network of the kind of `TinyClassifier` with other weights."""
    network = TinyClassifier()
    torch.manual_seed(seed)
    for layer in network.body:
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    return network


def retrieval(kind):
    return lambda: ImageRetrieval(TinyClassifier(), attack=kind)


TASKS = {
    "classification": (lambda: Classification(TinyClassifier(), mean=[0.4] * 3, std=[0.3] * 3), Arrays),
    "segmentation": (lambda: SemanticSegmentation(TinySegmenter()), Arrays),
    "positives": (retrieval("positives"), lambda: Pictures(batch_size=4)),
    "clean descriptor": (retrieval("clean"), lambda: Pictures(batch_size=4)),
}


@pytest.mark.parametrize("kind", TASKS)
def test_from_an_equal_network_it_is_the_attack_itself(kind):
    """To the bit, and without a call of the attacked network but for what is measured."""
    make, data = TASKS[kind]
    attack, task = PGD(steps=2, best="score"), make()
    task.model = Collector(task.model)
    direct = run(protocol(attack), data(), make())
    moved = run(protocol(Transfer(attack, make())), data(), task)
    assert moved.keys() == direct.keys()
    for key, statistics in direct.items():
        assert all(torch.equal(value, moved[key][name]) for name, value in statistics.items()), key
    assert task.model.backward == 0


@pytest.mark.parametrize("kind", ["positives", "clean"])
def test_the_surrogate_sees_nothing_that_the_attacked_network_made_of_the_images(kind):
    data = Pictures(batch_size=4)
    task, surrogate = (ImageRetrieval(network, attack=kind) for network in (TinyClassifier(), other()))
    batch = next(iter(data.test_dataloader()))
    own, streams = dict(batch), Streams(0, tuple(batch["index"].tolist()))
    moved = Transfer(PGD(steps=2), surrogate.requires_grad_(False))
    task.requires_grad_(False).prepare(data, {"t0": lambda image, index: image})
    moved.prepare(data)
    batch["features"], own["features"] = task(batch["image"]), surrogate(batch["image"])
    task.image_loss(batch["image"], batch)
    assert ("positive" in batch) == (kind == "positives")
    found = moved.craft(task, batch, [bare], streams)
    assert torch.equal(found, PGD(steps=2).craft(surrogate, own, [bare], streams))
    assert not torch.equal(found, PGD(steps=2).craft(task, batch, [bare], streams))


class Second(nn.Module):
    """Classifies embedded scenes by a linear layer on what the network of another task sees in them."""

    def __init__(self, image, label):
        super().__init__()
        self.sees = resolve("zoo:scenes-segmentation").eval()
        features = self._features(image).detach().double()  # (B, F), with a 1 at the end
        ridge = features.T @ features + 0.1 * torch.eye(features.shape[1])
        weight = torch.linalg.solve(ridge, features.T @ F.one_hot(label, 6).double())
        self.weight = nn.Parameter(10 * weight.float())

    def _features(self, image):
        pooled = self.sees.encoder(image)[-1].mean((2, 3))
        shares = self.sees(image).softmax(1).mean((2, 3))
        return torch.cat([pooled, shares, torch.ones_like(shares[:, :1])], 1)

    def forward(self, image):
        return self._features(image) @ self.weight


def test_from_another_network_it_is_weaker_than_direct_and_stronger_than_nothing():
    """Or than perturbations that were made for other images."""
    data = Scenes(limit=24, batch_size=96, train_images=96)
    seen, batch = (next(iter(loader)) for loader in (data.train_dataloader(), data.test_dataloader()))
    surrogate = Classification(Second(seen["image"], seen["label"]), mean=[0], std=[1])
    tasks = [Classification("zoo:scenes-classification"), surrogate]
    task, surrogate = (one.eval().requires_grad_(False) for one in tasks)
    attack, image = MIFGSM("16/255", "4/255", steps=5), batch["image"]
    streams = Streams(0, tuple(batch["index"].tolist()))
    direct = attack.craft(task, batch, [bare], streams)
    moved = Transfer(attack, surrogate).craft(task, batch, [bare], streams)
    swapped = (image + (moved - image).flip(0)).clamp(0, 1)

    def lost(image):
        return (task(image).argmax(1) != batch["label"]).float().mean()

    assert max(lost(image), lost(swapped)) + 0.1 < lost(moved) < lost(direct) - 0.1
    losses = [task.image_loss(one, batch).mean() for one in (swapped, image, moved, direct)]
    assert max(losses[:2]) < losses[2] < losses[3]


@pytest.mark.parametrize("kind", ["classification", "clean descriptor"])
def test_plans_exactly_the_calls_it_makes(kind):
    make, data = TASKS[kind]
    surrogate, batch = make().requires_grad_(False), next(iter(data().test_dataloader()))
    surrogate.model = Collector(surrogate.model)
    attack = Transfer(PGD(steps=3, eot=2), surrogate)
    attack.craft(make(), batch, [bare], Streams(0, tuple(batch["index"].tolist())))
    assert attack.task_calls == Calls(len(surrogate.model.seen), surrogate.model.backward)
    assert attack.task_calls.forward == 6 + surrogate.reads_features
    assert attack.purifier_calls == Calls(6, 6)
    assert attack.with_one_draw().task_calls.backward == 3


def test_says_of_itself_what_its_attack_says():
    surrogate = Classification(TinyClassifier())
    attacks = (
        Square(0.5, 3, "l2"),
        Patch(0.3),
        PGD("4/255", objective=FeatureDistance(reference="purified")),
        AttackedImages("folder"),
    )
    for attack in attacks:
        moved = Transfer(attack, surrogate)
        for name in ("eps", "norm", "rounding", "needs_purifier", "needs_gradient", "sees_defence"):
            assert getattr(moved, name) == getattr(attack, name)
    patched = torch.zeros(1, 3, 8, 8)
    patched[..., :2, :2] = 1
    assert Transfer(Patch(0.3), surrogate).spent(patched, 0 * patched).tolist() == [0.25]
    unknown = PGD()
    unknown.__class__ = type("Unknown", (PGD,), {"task_calls": None})
    assert Transfer(unknown, surrogate).task_calls is None


def test_the_attacked_network_needs_no_gradient_and_the_surrogate_does():
    blind = NoGradient(TinyClassifier())
    attack = Transfer(PGD(steps=1), Classification(other()))
    table = run(protocol(attack), Arrays(), Classification(blind))
    assert marked(table, "doubtful_gradient") == marked(table, "zero_gradient") == set()
    with pytest.raises(InputError, match="NoGradient has no gradient"):
        run(protocol(Transfer(PGD(steps=1), Classification(blind))), Arrays())


class Halved(TinyClassifier):
    """Has half the gradient that its answers have."""

    def forward(self, image):
        output = super().forward(image)
        return output / 2 + (output / 2).detach()


def test_a_wrong_gradient_of_the_surrogate_is_marked_where_it_was_climbed():
    attacks = {"bad": Transfer(PGD(steps=1), Classification(Halved())), "pgd": PGD(steps=1)}
    table = run(AttackAndPurify(attacks=attacks, attacker_sees=["none"]), Arrays())
    assert marked(table, "doubtful_gradient") == {"bad/none/t0"}


class Wide(nn.Module):
    """Six classes, of images of 10x10 alone."""

    def __init__(self, side=10, classes=6):
        super().__init__()
        self.layer = nn.Linear(3 * side * side, classes)

    def forward(self, image):
        return self.layer(image.flatten(1))


WRONG = {
    "another task": (
        lambda: MultiLabelClassification(TinyClassifier()),
        r"surrogate is MultiLabelClassification, scored by batch\['labels'\], and the task Classification",
    ),
    "more classes": (lambda: Classification(Wide(8)), "surrogate knows 6 classes and the task 4"),
    "classes that the targets lack": (
        lambda: Classification(Wide(8, 1)),
        "surrogate knows 2 classes and the task 4",
    ),
    "another size": (
        lambda: Classification(Wide()),
        r"of the surrogate: Wide cannot take images of 8x8 .*Set its input_size",
    ),
    "probabilities": (
        lambda: Classification(nn.Sequential(TinyClassifier(), nn.Softmax(1))),
        "of the surrogate: the network returns probabilities",
    ),
    "of more bits": (lambda: Classification(TinyClassifier().double()), "holds torch.float64 weights"),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("within", [False, True])
def test_a_surrogate_that_does_not_fit_is_refused(what, within):
    make, words = WRONG[what]
    attack = Transfer(PGD(), make())
    whole = WorstOf({"pgd": PGD(), "moved": attack}) if within else attack
    network = Collector(TinyClassifier())
    with pytest.raises(InputError, match=words):
        run(protocol(whole), Arrays(batch_size=4), Classification(network))
    assert all(len(image) == 1 for image in network.seen)


def test_a_surrogate_of_another_size_of_images_resizes_them():
    surrogate = Classification(Wide(classes=4), input_size=(10, 10))
    assert ("pgd/same/t145", 0, 3) in run(protocol(Transfer(PGD(steps=1), surrogate)), Arrays())


def test_a_bare_network_is_no_surrogate():
    with pytest.raises(InputError, match=r"surrogate is a TinyClassifier; expected one of dds\.tasks"):
        Transfer(PGD(), TinyClassifier())


def evaluated(folder, surrogate, task=None, **options):
    made = protocol(WorstOf({"far": Transfer(PGD(steps=1), surrogate)}))
    task = task or Classification(TinyClassifier())
    return dds.evaluate(task, Arrays(), made, folder, quiet=True, accelerator="cpu", **options)


def test_a_run_tells_the_weights_of_the_surrogate_and_gives_it_back_as_it_was(tmp_path):
    surrogate = Classification(other())
    before = deepcopy(surrogate.state_dict())
    assert surrogate.training
    summary = evaluated(tmp_path / "run", surrogate).summary
    assert summary["weights"]["surrogate of far of pgd"] == weights_hash(other())
    assert all(part.training for part in surrogate.modules())
    assert all(weight.requires_grad and weight.grad is None for weight in surrogate.parameters())
    assert all(torch.equal(value, before[name]) for name, value in surrogate.state_dict().items())
    assert dds.Results.read(tmp_path / "run").summary == summary


def moved(layer):
    if isinstance(layer, nn.Conv2d):
        layer.weight.data[0, 0, 0, 0] += 1e-6


def test_another_surrogate_is_another_run_and_is_not_found_in_the_store(tmp_path):
    """From Python, where a task hands its normalisation on to `BaseTask`."""

    def segmenter(mean=0.0, std=1.0):
        return SemanticSegmentation(TinySegmenter(), mean=[mean] * 3, std=[std] * 3)

    def found(surrogate):
        return run_with_store(tmp_path / "store", protocol(Transfer(PGD(steps=1), surrogate)), segmenter())

    others = [segmenter(mean=0.1), segmenter(std=0.9), segmenter().apply(moved)]
    evaluated(tmp_path / "run", segmenter(), segmenter())
    evaluated(tmp_path / "run", segmenter(), segmenter(), resume=True)
    assert [found(segmenter()) for _ in range(2)] == [(0, 8), (8, 0)]
    for surrogate in others:
        with pytest.raises(InputError, match="another configuration"):
            evaluated(tmp_path / "run", surrogate, segmenter(), resume=True)
        assert found(surrogate) == (0, 8)


def test_the_plan_says_how_calls_count_and_what_is_unknown_of_the_surrogate():
    known, unknown = (Classification(other(), *given) for given in (([0.5], [0.5]), ()))
    caption = protocol(Transfer(PGD(), known)).describe().caption
    assert "calls of the surrogate of pgd, TinyClassifier, are counted as the task's" in caption
    assert "WARNING" not in caption
    caption = protocol(Transfer(PGD(), unknown)).describe().caption
    assert "surrogate of pgd: WARNING: nothing says how TinyClassifier" in caption
    assert "Set surrogate.mean and surrogate.std" in caption


def test_the_bar_counts_calls_of_the_surrogate():
    made = protocol(Transfer(PGD(steps=2), Classification(other())))
    progress = NetworkProgress(made)
    trainer(made, progress).test(Classification(TinyClassifier()), Arrays(2, images=3), verbose=False)
    (bar,) = progress._bar.tasks
    assert bar.completed == bar.total == 2 * (made.cost.task.forward + made.cost.purifier.forward)


def test_the_database_is_described_by_the_surrogate_once_a_job():
    task, surrogate = (ImageRetrieval(Collector(TinyClassifier())) for _ in range(2))
    made, data = protocol(Transfer(PGD(steps=1), surrogate)), Pictures(batch_size=4)
    batches = len(data.database_dataloader())

    def described():
        """Count the batches of the database: those that hold images as they are in it."""
        rows = {image.numpy().tobytes() for image in data.images}
        return sum(all(one.numpy().tobytes() in rows for one in batch) for batch in surrogate.model.seen)

    for _ in range(2):
        trainer(made).test(task, data, verbose=False)
        assert described() == batches
        task.goes_on = True
    task.goes_on = False
    trainer(made).test(task, data, verbose=False)
    assert described() == 2 * batches


def test_a_yaml_names_a_network_of_the_zoo(in_folder, capsys):  # noqa: F811
    """Of the task's own images, made smaller: the attack is weaker than on the network as it is."""
    surrogate = {"class_path": "Classification", "init_args": {"model": "zoo:scenes-classification"}}
    surrogate["init_args"] |= {"mean": [0], "std": [1], "input_size": [48, 48]}
    pgd = {"class_path": "PGD", "init_args": {"eps": "8/255", "steps": 2}}
    given = {"class_path": "Transfer", "init_args": {"surrogate": surrogate, "attack": pgd}}
    Path("far.yaml").write_text(yaml.safe_dump({"protocol": {"attacks": {"pgd": pgd, "far": given}}}))
    options = ["--config", "far.yaml", "--experiment=far"]
    folder = run_evaluate(in_folder, "cls_scenes.yaml", *options).parents[1] / "far" / "run"
    found = conditions(folder)
    losses = [found[f"{name}/t0"]["metrics"]["loss"]["value"] for name in ("clean/-", "far/none", "pgd/none")]
    assert losses == sorted(losses)
    assert {"far/none/t145", "far/same/t145"} <= found.keys()
    expected = weights_hash(resolve("zoo:scenes-classification"))
    text = (folder / "config.yaml").read_text()
    assert f"# weights: surrogate of far {expected}" in text
    changed = "--protocol.attacks.far.init_args.surrogate.init_args.mean=[0.1]"
    with pytest.raises(SystemExit):
        run_evaluate(in_folder, "cls_scenes.yaml", *options, "--resume", changed)
    assert "another configuration" in capsys.readouterr().err
