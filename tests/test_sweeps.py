"""The sweeps of W&B in `dds/configs/sweep`, by the command lines that an agent makes of them."""

import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from dds.cli import evaluate
from dds.command_line import CONFIGS, find_config
from dds.errors import InputError
from dds.options import evaluation_parser, new_name

SWEEPS = sorted((CONFIGS / "sweep").glob("*.yaml"))


def combinations(sweep):
    """Return some combinations of parameters: each value of each one, and of the others the first."""
    values = {name: given.get("values", [given.get("value")]) for name, given in sweep["parameters"].items()}
    first = {name: each[0] for name, each in values.items()}
    return [{**first, name: value} for name, each in values.items() for value in each]


def command_line(sweep, parameters):
    """Return what an agent would give to the program."""
    fixed = [part for part in sweep["command"] if not part.startswith("${")]
    chosen = create_sweep_command_args({"args": {name: {"value": it} for name, it in parameters.items()}})
    return [*fixed, *chosen["args"]]


@pytest.mark.parametrize("path", SWEEPS, ids=[path.stem for path in SWEEPS])
def test_every_parameter_is_an_option(path):
    sweep, parser = yaml.safe_load(path.read_text()), evaluation_parser()
    assert sweep["metric"]["name"] == "worst_utility"
    for parameters in combinations(sweep):
        config = parser.parse_args(command_line(sweep, parameters))
        assert config.protocol.noise_levels == parameters["protocol.noise_levels"]
        assert set(config.protocol.attacks) == set(parameters["protocol.attacks"])


def test_the_plan_of_a_point(capsys):
    sweep = yaml.safe_load((CONFIGS / "sweep" / "seg_scenes.yaml").read_text())
    evaluate([*command_line(sweep, combinations(sweep)[-1]), "--plan"])
    assert "mifgsm/same/t10" in capsys.readouterr().out


def test_agents_that_start_in_the_same_second_have_folders_of_their_own(monkeypatch):
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep")
    for run in ("one", "two"):
        monkeypatch.setenv("WANDB_RUN_ID", run)
        assert new_name().endswith(f"_{run}")


def test_a_sweep_is_not_offered_as_a_config():
    with pytest.raises(InputError, match=r"seg_scenes\.yaml") as named:
        find_config("seg_scene.yaml")
    assert "sweep" not in str(named.value)
