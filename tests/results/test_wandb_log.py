"""What W&B does not answer to must not cost the user anything; what it is sent is tested in test_cli."""

import pytest
import wandb

from dds.results import RunFolder, log_to_wandb

SUMMARY = {"task": "Classification", "data": "Scenes", "versions": {}, "weights": {}, "conditions": []}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.yaml").write_text("task: 1\n")
    return RunFolder(tmp_path)


@pytest.fixture
def unreachable(monkeypatch):
    """A key, but nobody who answers."""
    tried, init = [], wandb.init

    def start(mode, **options):
        tried.append(mode)
        if mode == "online":
            raise wandb.errors.CommError("Run initialization has timed out after 30.0 sec.\nand more")
        return init(mode=mode, **options)

    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setattr(wandb, "init", start)
    return tried


def test_an_unreachable_server_leaves_an_offline_run_and_says_so(folder, unreachable):
    step = {
        "key": "clean/-/t0", "attack": "clean", "attacker_sees": "-",
        "defence": None, "t": None, "sigma": None,
        "metrics": {"accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}}, "utility_drop": None,
    }  # fmt: skip
    line = log_to_wandb(folder, {**SUMMARY, "conditions": [step]}, "dds")
    assert unreachable == ["online", "offline"]
    assert "did not answer (Run initialization has timed out after 30.0 sec.)" in line
    assert "wandb sync" in line
    assert list(folder.path.glob("wandb/offline-run-*/*.wandb"))
