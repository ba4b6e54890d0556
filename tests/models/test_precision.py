import pytest
import torch
from conftest import TinyClassifier

import dds
from dds.errors import InputError
from dds.models.precision import to_precision


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_networks_of_fewer_bits_compute_in_those_of_the_images(tmp_path, dtype):
    network = TinyClassifier().to(dtype)
    protocol = dds.AttackAndPurify(attacks={"pgd": dds.attacks.PGD(steps=1)}, attacker_sees=["none"])
    data = [(torch.rand(3, 8, 8), 0)] * 2
    results = dds.evaluate(
        dds.tasks.Classification(network), data, protocol, tmp_path / "run", accelerator="cpu", quiet=True
    )
    assert len(results.table) == 2
    assert {weight.dtype for weight in network.parameters()} == {dtype}


def test_bits_are_not_thrown_away():
    with pytest.raises(InputError, match=r"float64.*\.float\(\).*64-true"):
        to_precision(TinyClassifier().double(), torch.float32)


@pytest.mark.parametrize("precision", ["16-true", "bf16-true"])
def test_a_trainer_that_computes_attacks_in_half_is_refused_by_its_name(tmp_path, precision):
    with pytest.raises(InputError, match=r"precision"):
        dds.evaluate(
            dds.tasks.Classification(TinyClassifier()), [(torch.rand(3, 8, 8), 0)] * 2, dds.AttackAndPurify(),
            tmp_path / "run", accelerator="cpu", quiet=True, precision=precision,
        )  # fmt: skip
    assert not (tmp_path / "run").exists()
