"""The same numbers for any batch size, order and choice of conditions; for processes see test_cli."""

import pandas as pd
import pytest
import torch
from callbacks.test_attack_and_purify import Arrays, protocol, run
from conftest import assert_same_samples
from test_cli import run_evaluate

from dds.attacks import MIFGSM, PGD

pytestmark = pytest.mark.usefixtures("without_figures")

SMALL = [
    "--data.limit=3",
    "--protocol.noise_levels=[50]",
    "--protocol.draws=1",
    "--trainer.precision=64-true",
]


@pytest.mark.parametrize("task", ["cls", "seg", "depth", "ret", "det"])
def test_batch_sizes_in_double_precision(tmp_path, task):
    """In float32, batches of another size round differently, and an attack's sign makes steps of that."""
    options = [*SMALL, "--trainer.precision=64-true", *(["--data.test_images=24"] if task == "ret" else [])]
    one, two, most = (
        run_evaluate(tmp_path, f"{task}_scenes.yaml", *options, f"--data.batch_size={size}", name=str(size))
        for size in (1, 2, 32)
    )
    assert_same_samples(one, two, atol=1e-4)
    assert_same_samples(one, most, atol=1e-4)


def test_networks_of_16_bits_are_measured_in_32(tmp_path):
    samples = {}
    for precision in ("32-true", "bf16-mixed"):
        options = [*SMALL, f"--trainer.precision={precision}"]
        folder = run_evaluate(tmp_path, "cls_scenes.yaml", *options, name=precision)
        samples[precision] = pd.read_parquet(folder / "samples.parquet")
    exact, rounded = (table[table.condition == "clean/-/t0"] for table in samples.values())
    assert (rounded.ssim == 1).all()
    assert (rounded.feature_cosine - 1).abs().max() < 1e-5
    assert rounded.loss.to_numpy() == pytest.approx(exact.loss.to_numpy(), rel=0.1, abs=0.05)
    assert rounded.loss.to_numpy() != pytest.approx(exact.loss.to_numpy(), rel=1e-6)


GRID = {
    "noise_levels": [10, 145],
    "attacks": {"pgd": PGD(steps=2), "mifgsm": MIFGSM(steps=2)},
    "attacker_sees": ["none", "same", 145],
}
BACKWARDS = {
    "noise_levels": [145, 10],
    "attacks": dict(reversed(GRID["attacks"].items())),
    "attacker_sees": [145, "same", "none"],
}
PART = {"noise_levels": [145], "attacks": {"mifgsm": MIFGSM(steps=2)}, "attacker_sees": ["same"]}


@pytest.mark.parametrize(("other", "conditions"), [(BACKWARDS, 19), (PART, 4)])
def test_order_and_choice_of_conditions(other, conditions):
    whole, part = (run(protocol(**options), Arrays(batch_size=4)) for options in (GRID, other))
    assert part.keys() <= whole.keys()
    assert len({key for key, _, _ in part}) == conditions
    for key, statistics in part.items():
        assert statistics.keys() == whole[key].keys()
        assert all(torch.equal(value, whole[key][name]) for name, value in statistics.items()), key
