"""Two things have the same fingerprint only if they compute the same."""

import random
import sys
import threading
from collections import defaultdict
from copy import deepcopy
from fractions import Fraction
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from conftest import TinyClassifier, TinyNoiseNetwork
from torch import nn
from torchvision.tv_tensors import BoundingBoxes

from dds.attacks import MIFGSM, PGD, FeatureDistance, PurifiedDistance
from dds.fingerprints import code
from dds.fingerprints.code import code_of
from dds.fingerprints.fingerprint import Fingerprint, NoFingerprintError
from dds.purifiers import JPEG, DiffusionDenoiser
from dds.tasks import Classification


def of(*things):
    return Fingerprint().of(*things)


def scaled(factor):
    return lambda image: image * factor


def twice(image):
    return 2 * image


class Net(nn.Module):
    def __init__(self, slope=0.1, function=torch.relu):
        super().__init__()
        self.slope, self.function = slope, function


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value


class Above:
    class Pair(tuple):
        pass


class Below:
    class Pair(tuple):
        pass


DIFFERENT = [
    (Above.Pair("ab"), Below.Pair("ab")),
    (1, 1.0),
    (1, True),
    ("1", 1),
    ("ab", "a"),
    (["a", "b"], ["ab"]),
    ([1], (1,)),
    ([[1], 2], [[1, 2]]),
    ({"a": 1}, {"a": 2}),
    ({1, 2}, {1, 3}),
    (None, False),
    (torch.zeros(2), torch.zeros(2, 1)),
    (torch.zeros(2), torch.zeros(2).double()),
    (torch.zeros(2), np.zeros(2, np.float32) + 1),
    (Path("a"), Path("b")),
    (partial(twice, 1), partial(twice, 2)),
    (scaled(2), scaled(3)),
    (scaled, twice),
    (Net(0.1), Net(0.2)),
    (Net(function=torch.relu), Net(function=torch.tanh)),
    (Net(function=scaled(1)), Net(function=scaled(2))),
    (Slotted(1), Slotted(2)),
    (SimpleNamespace(a=1), SimpleNamespace(b=1)),
    (nn.LeakyReLU(0.1), nn.LeakyReLU(0.2)),
    (nn.Sequential(nn.ReLU(), nn.Identity()), nn.Sequential(nn.Identity(), nn.ReLU())),
    (nn.Dropout().eval(), nn.Dropout().train()),
    (torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)),
    (slice(1), slice(2)),
    (PGD(steps=1), PGD(steps=2)),
    (PGD(eps="8/255"), PGD(eps="4/255")),
    (PGD(), MIFGSM()),
    (PGD(objective=FeatureDistance()), PGD(objective=PurifiedDistance())),
    (JPEG(50), JPEG(51)),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_what_computes_differently_is_told_apart(one, other):
    assert of(one) != of(other)


@pytest.mark.parametrize("thing", [one for one, _ in DIFFERENT if not callable(one)])
def test_a_copy_is_the_same(thing):
    assert of(thing) == of(deepcopy(thing))


def test_attributes_of_a_function_count():
    one, other = scaled(2), scaled(2)
    assert of(one) == of(other)
    one.factor, other.factor = 1, 2
    assert of(one) != of(other)


def test_one_weight_is_enough():
    network = TinyClassifier()
    before = of(network)
    with torch.no_grad():
        network.body[0].weight[0, 0, 0, 0] += 1e-7
    assert of(network) != before


@pytest.mark.parametrize("kind", ["full_backward_hook", "full_backward_pre_hook"])
def test_a_hook_that_changes_gradients_counts(kind):
    network, changed = TinyClassifier(), TinyClassifier()
    hook = getattr(changed.body[0], f"register_{kind}")(twice)
    assert of(network) != of(changed)
    hook.remove()
    assert of(network) == of(changed)


def test_a_hook_that_changes_the_output_counts():
    network, changed = TinyClassifier(), TinyClassifier()
    assert of(network) == of(changed)
    changed.body[0].register_forward_hook(scaled(2))
    assert of(network) != of(changed)


def test_settings_of_a_task_count_and_what_a_run_leaves_does_not():
    task, other = (Classification(TinyClassifier(), mean=[0.5] * 3, std=[std] * 3) for std in (1.0, 0.5))
    before = of(task)
    assert before != of(other)
    task.start_over()
    task.goes_on = True
    task.update("clean/-/t0", torch.tensor([0]), {"correct": torch.ones(1, 1)})
    assert of(task) == before


def test_schedule_and_settings_of_a_purifier_count():
    one = DiffusionDenoiser(TinyNoiseNetwork())
    other = DiffusionDenoiser(TinyNoiseNetwork(), {"beta_schedule": "squaredcos_cap_v2"})
    assert of(one) == of(DiffusionDenoiser(TinyNoiseNetwork())) != of(other)
    assert of(one) != of(DiffusionDenoiser(TinyNoiseNetwork(), clamp=False))


def test_things_that_hold_each_other_come_to_an_end():
    one, other = SimpleNamespace(value=1), SimpleNamespace(value=1)
    one.self, other.self = one, other
    assert of(one) == of(other)
    other.self = SimpleNamespace(value=1)
    assert of(one) != of(other)


def test_sets_have_no_order():
    """It differs from process to process."""
    numbers = [1, 2**61, 2**62, 5]  # which collide, so that the order hangs on which came first
    assert list(set(numbers)) != list(set(numbers[::-1]))
    assert of(set(numbers)) == of(set(numbers[::-1]))


def test_what_cannot_be_told_apart_is_named_with_its_place():
    network = Net()
    with Path(__file__).open() as network.session:
        expected = r"^_modules\.0\.session, a _io\.TextIOWrapper, cannot be told from others"
        with pytest.raises(NoFingerprintError, match=expected):
            of(nn.Sequential(network))


class Threshold:
    __slots__ = ("__value", "__weakref__")

    def __init__(self, value):
        self.__value = value


class Marked(random.Random):
    mark = None


@pytest.mark.parametrize("make", [random.Random, Marked, Threshold, Fraction])
def test_state_outside_of_the_dictionary_counts(make):
    """That of a class in C, and that in slots of private names."""
    assert of(make(1)) == of(make(1)) != of(make(2))


class Row(list):
    __slots__ = ("of",)

    def __init__(self, of):
        super().__init__([1])
        self.of = of


@pytest.mark.parametrize(
    "make",
    [
        lambda value: torch.eye(2).mul(value).to_sparse(),
        lambda value: torch.eye(2).mul(value).to_sparse_csr(),
        lambda value: torch.tensor([1 + value * 1j]).conj(),
        lambda value: nn.Parameter(torch.eye(2).mul(value).to_sparse()),
        lambda value: torch.empty(value, device="meta"),
        lambda value: BoundingBoxes([[0, 0, 1, 1]], format="XYXY", canvas_size=(4, value)),
        lambda value: np.ma.array([1, 2], mask=[0, value > 1]),
        lambda value: defaultdict([int, float, bool][value]),
        Row,
    ],
)
def test_all_that_an_array_or_a_collection_holds_counts(make):
    """Where few values are, which are masked, what is there by default."""
    assert of(make(1)) == of(make(1)) != of(make(2))


class Held(threading.local):
    pass


def test_a_subclass_of_what_cannot_be_told_apart_cannot_either():
    with pytest.raises(NoFingerprintError, match=r"^session, a .*Held, cannot be told from others"):
        of(SimpleNamespace(session=Held()))


# Code


def test_versions_of_packages_whose_classes_are_met():
    found = Fingerprint()
    found.of(timm.create_model("resnet10t"))
    said = code_of(found.modules)
    assert said["timm"] == version("timm")
    assert said["torch"] == version("torch")
    assert "wandb" not in said


def test_code_of_users_counts_where_it_is_loaded(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "their_helper", raising=False)
    (tmp_path / "their_helper.py").write_text("factor = 2\n")
    before = code_of([])
    import their_helper  # noqa: F401

    loaded = code_of([])
    assert loaded["users"] != before["users"]
    (tmp_path / "their_helper.py").write_text("factor = 3\n")
    assert code_of([])["users"] not in (before["users"], loaded["users"])


def test_code_of_this_package_counts_but_for_what_comes_afterwards():
    rooms = {path.name for path in Path(code.__file__).parents[1].iterdir()}
    assert rooms >= code._NEVER
    assert not code._NEVER & {
        "attacks",
        "callbacks",
        "data",
        "models",
        "noise.py",
        "protocol",
        "purifiers",
        "tasks",
    }


def test_classes_of_a_notebook_are_refused(monkeypatch):
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    with pytest.raises(NoFingerprintError, match="notebook"):
        code_of(["__main__"])
