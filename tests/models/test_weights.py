import pickle
import re

import pytest
import torch
from conftest import TinyClassifier
from torch import nn

from dds.errors import InputError
from dds.models import pretrained
from dds.models.cifar10 import CifarDenoiser, CifarResNet
from dds.models.weights import load_self_describing, save_self_describing
from dds.models.zoo import resolve


def test_checkpoint_with_key_and_prefix(tmp_path):
    source, target = nn.Linear(2, 2), nn.Linear(2, 2)
    state = {f"module.{name}": value for name, value in source.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "net.th")
    pretrained(target, str(tmp_path / "net.th"), key="state_dict", strip="module.")
    assert torch.equal(target.weight, source.weight)


@pytest.mark.parametrize("key", ["model.state_dict", "model.net.ema"])
def test_dots_of_a_key_descend(tmp_path, key):
    source, target = nn.Linear(2, 2), nn.Linear(2, 2)
    names = key.split(".", 1)  # of the second, the rest is the name of an entry
    torch.save({names[0]: {names[1]: source.state_dict()}, "epoch": 3}, tmp_path / "net.pth")
    pretrained(target, str(tmp_path / "net.pth"), key=key)
    assert torch.equal(target.weight, source.weight)
    with pytest.raises(InputError, match=rf"model of .*net.pth has no entry 'weights'; it has {names[1]}"):
        pretrained(target, str(tmp_path / "net.pth"), key="model.weights")


@pytest.mark.parametrize(
    "ignore", ["criterion.*", ["module.criterion.weight", "crit*.bias"], ["*criterion*"]]
)
def test_entries_that_are_no_part_of_the_network_are_left_out(tmp_path, ignore):
    source, target = nn.Linear(2, 2), nn.Linear(2, 2)
    state = {**source.state_dict(), "criterion.weight": torch.ones(3), "criterion.bias": torch.ones(3)}
    torch.save({f"module.{name}": value for name, value in state.items()}, tmp_path / "net.pth")
    pretrained(target, str(tmp_path / "net.pth"), strip="module.", ignore=ignore)
    assert torch.equal(target.bias, source.bias)


def test_a_pattern_that_matches_nothing_is_named(tmp_path):
    state = {f"layer{number}.{name}": torch.ones(1) for number in range(9) for name in ("bias", "weight")}
    torch.save(state, tmp_path / "net.pth")
    few = ", ".join(f"layer{number}.bias" for number in range(8))
    with pytest.raises(InputError, match=rf"no entry like ignore='criterion.\*'; it has {few}, …. Correct"):
        pretrained(nn.Linear(2, 2), str(tmp_path / "net.pth"), ignore=["layer0.*", "criterion.*"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("bias"), "Missing key"),
        (lambda state: state.update(extra=torch.zeros(1)), "Unexpected key"),
        (lambda state: state.update(weight=torch.zeros(3, 3)), "size mismatch"),
    ],
)
def test_weights_that_do_not_fit(tmp_path, change, words):
    state = dict(nn.Linear(2, 2).state_dict())
    change(state)
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(InputError, match=words):
        pretrained(nn.Linear(2, 2), str(tmp_path / "net.pth"))


class Malicious:
    ran = False

    def __reduce__(self):
        return (setattr, (Malicious, "ran", True))


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"weight": Malicious()}))
    torch.save({"weight": Malicious()}, tmp_path / "evil2.pth")
    for name in ("evil.pth", "evil2.pth"):
        with pytest.raises(InputError, match="safetensors"):
            pretrained(nn.Linear(2, 2), str(tmp_path / name))
    assert not Malicious.ran


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        pretrained(nn.Linear(2, 2), str(tmp_path / "none.pth"))
    for name in ("half.safetensors", "half.pth"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 half a file")
        with pytest.raises(InputError, match=r"half\."):
            pretrained(nn.Linear(2, 2), str(tmp_path / name))


def test_wrong_key_is_named(tmp_path):
    torch.save({"model": {}}, tmp_path / "net.pth")
    with pytest.raises(InputError, match="it has model"):
        pretrained(nn.Linear(2, 2), str(tmp_path / "net.pth"), key="state_dict")


def test_self_describing_file_rebuilds_its_network(tmp_path):
    network = CifarResNet(depth=8, num_classes=3)
    path = tmp_path / "net.safetensors"
    spec = {"class_path": "dds.models.cifar10.CifarResNet", "init_args": {"depth": 8, "num_classes": 3}}
    save_self_describing(network, spec, path)
    loaded = load_self_describing(path)
    for name, value in network.state_dict().items():
        assert torch.allclose(loaded.state_dict()[name], value, atol=1e-3)
    assert not list(tmp_path.glob("*.partial"))


def test_self_describing_file_builds_no_foreign_class(tmp_path):
    path = tmp_path / "net.safetensors"
    save_self_describing(nn.Linear(2, 2), {"class_path": "os.system", "init_args": {"command": "true"}}, path)
    with pytest.raises(InputError, match=r"os\.system"):
        load_self_describing(path)


def test_undescribed_file_is_refused_with_the_remedy(tmp_path):
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "net.pth")
    with pytest.raises(InputError, match=r"dds\.models\.pretrained"):
        resolve(str(tmp_path / "net.pth"))


@pytest.mark.parametrize("name", ["scenes-ddpm", "scenes-segmentation", "scenes-classification"])
def test_zoo(name):
    assert sum(parameter.numel() for parameter in resolve(f"zoo:{name}").parameters()) > 100_000


def test_unknown_name_lists_the_zoo():
    with pytest.raises(InputError, match="scenes-ddpm"):
        resolve("zoo:nothing")


def test_changed_zoo_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("dds.models.zoo.ZOO", tmp_path)
    (tmp_path / "sha256.yaml").write_text("net: " + "0" * 64)
    (tmp_path / "net.safetensors").write_bytes(b"something else")
    with pytest.raises(InputError, match="SHA-256"):
        resolve("zoo:net")


def test_network_passes_through():
    network = TinyClassifier()
    assert resolve(network) is network


def test_public_cifar_weights_load_strictly(shared_data):
    weights = shared_data / "weights"
    files = {20: "resnet20-12fca82f.th", 32: "resnet32-d509ac18.th", 56: "resnet56-4bfd9763.th"}
    for depth, file in files.items():
        pretrained(CifarResNet(depth), str(weights / "cifar10_resnet" / file), "state_dict", "module.")
    pretrained(CifarDenoiser(), str(weights / "cifar10_ddpm" / "ddpm.pth"))
    with pytest.raises(InputError, match="does not fit CifarResNet"):
        pretrained(CifarResNet(20), str(weights / "cifar10_resnet" / files[56]), "state_dict", "module.")


LAYOUTS = {
    "Lightning": (lambda state: {"epoch": 3, "state_dict": state}, "model.", "state_dict"),
    "DataParallel": (lambda state: {"model": state}, "module.", "model"),
    "teacher": (lambda state: {"student": {"w": torch.ones(1)}, "teacher": state}, "backbone.", "teacher"),
    "average": (lambda state: {"ema": {"shadow": state}}, "", "ema.shadow"),
    "plain": (lambda state: state, "net.0.", ""),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_only_entry_and_prefix_that_fit_are_named_and_taken(tmp_path, layout):
    wrap, prefix, entry = LAYOUTS[layout]
    source, target = nn.Linear(2, 2), nn.Linear(2, 2)
    state = {f"{prefix}{name}": value for name, value in source.state_dict().items()}
    torch.save(wrap(state), tmp_path / "net.ckpt")
    said = f"What fits: key: {entry or 'null'}, strip: {prefix or chr(39) * 2}."
    with pytest.raises(InputError, match=re.escape(said)):
        pretrained(target, str(tmp_path / "net.ckpt"))
    pretrained(target, str(tmp_path / "net.ckpt"), key="auto")
    assert torch.equal(target.weight, source.weight)


def test_several_that_fit_are_named_and_none_is_taken(tmp_path):
    state = nn.Linear(2, 2).state_dict()
    torch.save({"teacher": state, "student": state}, tmp_path / "net.ckpt")
    said = "several do: key: student, strip: ''; or key: teacher, strip: ''. Name one."
    with pytest.raises(InputError, match=re.escape(said)):
        pretrained(nn.Linear(2, 2), str(tmp_path / "net.ckpt"), key="auto")
    with pytest.raises(InputError, match="none does. Check the network's init_args"):
        pretrained(nn.Linear(2, 3), str(tmp_path / "net.ckpt"), key="auto")
