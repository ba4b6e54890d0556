import json

import pytest
import yaml
from matplotlib.figure import Figure
from torch import nn

from dds.cli import evaluate
from dds.command_line import CONFIGS
from dds.reports.figures import sanity_curves
from dds.results.sanity import find_curves, findings, measures, without_curves


def entry(attack, sees="none", t=None, spread=0.05, drop=0.0, **metrics):
    around = {name: interval(value, spread) for name, value in metrics.items()}
    return {
        "key": f"{attack}/{sees}/t{t or 0}",
        "attack": attack,
        "attacker_sees": sees,
        "defence": f"t{t}" if t else None,
        "t": t,
        "sigma": t and 0.088,
        "metrics": around,
        "utility_drop": interval(drop, spread),
    }


def interval(value, spread):
    if value is None:
        return dict.fromkeys(("value", "low", "high"))
    return {"value": value, "low": value - spread, "high": value + spread}


def curve(setting, values, metric="attack_success", **condition):
    """Attacks with 1, 2, 4, ... of a setting."""
    return [entry(f"{setting}={2**k}", **{metric: value}, **condition) for k, value in enumerate(values)]


def summary_of(*entries, utility="accuracy", lower_is_better=False, clean=None):
    unattacked = [entry("clean", "-", t, **({} if clean is None else {"loss": clean})) for t in (None, 50)]
    conditions = [*unattacked, *entries]
    return {"conditions": conditions, "utility": utility, "lower_is_better": lower_is_better}


def test_attacks_named_by_a_number_are_curves():
    names = ["steps=10", "steps=2", "steps=1", "pgd", "eps=0.5", "eps=0.25", "eot=4", "steps=x", "2=steps=1"]
    attacks = [entry(name, sees, t) for name in names for sees, t in (("none", None), ("same", 50))]
    summary = summary_of(*attacks, entry("severity=1", "-"), entry("severity=2", "-"))
    found = {(c.setting, c.attacker_sees, c.defence): [n for n, _ in c.points] for c in find_curves(summary)}
    assert found == {
        (setting, sees, defence): numbers
        for setting, numbers in (("steps", [1, 2, 10]), ("eps", [0.25, 0.5]))
        for sees, defence in (("none", "no defence"), ("same", "t=50 σ=0.088"))
    }
    left = {e["attack"] for e in without_curves(summary)["conditions"]}
    assert left == {"clean", "pgd", "eot=4", "steps=x", "2=steps=1", "severity=1", "severity=2"}


def test_a_run_without_curves_has_no_findings():
    summary = summary_of(entry("pgd"), entry("steps=1"))
    assert findings(summary) == []
    assert without_curves(summary) == summary


def blind_against_climbing(square, pgd, square_eps=0.1, seen="same"):
    attacks = {
        "square": {"norm": "linf", "eps": square_eps, "gradient": False},
        "pgd": {"norm": "linf", "eps": 0.1, "gradient": True},
        "apgd": {"norm": "linf", "eps": 0.1, "gradient": True},
    }
    entries = [
        entry("square", seen, 50, attack_success=square),
        entry("pgd", "same", 50, attack_success=pgd),
        entry("apgd", "same", 50, attack_success=0.1),
    ]
    return {**summary_of(*entries), "attacks": attacks}


def test_an_attack_without_a_gradient_that_does_more_harm_shows_a_masked_one():
    (finding,) = findings(blind_against_climbing(0.8, 0.5))
    assert finding.startswith("square/same/t50, without a gradient: attack success 0.8, against at most 0.5")
    assert "(pgd): WARNING, the gradient is masked" in finding


@pytest.mark.parametrize(
    "other",
    [{"pgd": 0.76}, {"pgd": 0.9}, {"pgd": 0.5, "square_eps": 0.2}, {"pgd": 0.5, "seen": "none"}],
)
def test_it_shows_nothing_within_the_interval_or_of_another_budget_or_sight(other):
    assert findings(blind_against_climbing(0.8, **other)) == []


def test_attacks_that_work():
    steps = curve("steps", [2.0, 4.0, 4.1], "loss", spread=0.5)
    eps = curve("eps255", [0.3, 0.8, 1.0], sees="same", t=50)
    on_steps, on_eps, on_eot = findings(summary_of(*steps, *eps, *curve("eot", [0.8, 0.8]), clean=0.5))
    assert on_steps == (
        "steps, no defence, attacker sees none: loss 4 at 2, 4.1 at 4 (+0.1; interval 3.6 to 4.6): "
        "fine, the last step up gains less than 5%."
    )
    assert on_eps == (
        "eps (1/255), t=50 σ=0.088, attacker sees same: attack success 0.8 at 2, 1 at 4 (+0.2; interval 0.95 "
        "to 1.05): fine, attack success reaches 100%."
    )
    assert on_eot.startswith("noise draws for each gradient (eot), no defence")
    assert "fine" in on_eot


def test_a_loss_may_rise_once_every_image_is_broken():
    steps = [entry(f"steps={n}", loss=n, attack_success=success) for n, success in ((1, 0.8), (5, 1.0))]
    (finding,) = findings(summary_of(*steps, clean=0.5))
    assert "loss 1 at 1, 5 at 5" in finding
    assert "fine, attack success reaches 100%" in finding


BROKEN = {
    "masked gradient": (curve("eps255", [0.3, 0.4, 0.42]), "42%, expected at least 99%"),
    "one image of 48 survives": (curve("eps255", [0.3, 1.0, 1.0, 47 / 48]), "98%, expected at least 99%"),
    "segmentation hardly hurt": (
        [entry("eps=0.1", drop=0.5, mIoU=0.3), entry("eps=0.2", drop=0.6, mIoU=0.25)],
        "60%, expected at least 90%",
    ),
    "not converged": (curve("steps", [1.0, 2.0, 3.0], "loss"), "still rising"),
    "too little averaging": (curve("eot", [0.5, 0.6, 0.8]), "still rising"),
    "steps too long": (curve("steps", [1.0, 3.0, 2.0, 3.0], "loss"), "falls on the way"),
    "no gradient": (curve("steps", [0.5, 0.52, 0.51], "loss"), "cannot be told from no attack"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_attacks_that_do_not_work(fault):
    entries, words = BROKEN[fault]
    (finding,) = findings(summary_of(*entries, clean=0.5))
    assert "WARNING" in finding
    assert words in finding


def test_values_differ_only_where_each_is_outside_the_others_interval():
    for gain, spread, verdict in ((0.2, 0.15, "WARNING"), (0.2, 0.25, "unclear"), (0.02, 0.25, "fine")):
        (finding,) = findings(summary_of(*curve("eot", [0.5, 0.5 + gain], spread=spread)))
        assert verdict in finding
    sure = entry("eot=1", attack_success=1.0, spread=0.0)  # all images: no interval at all
    (finding,) = findings(summary_of(sure, entry("eot=2", attack_success=0.98, spread=0.03)))
    assert "fine" in finding


def test_only_attackers_who_see_the_defence_are_judged():
    sights = [("none", None), *((sees, 50) for sees in ("none", "same", "fixed_noise", "t50", "t10"))]
    entries = [e for sees, t in sights for e in curve("eps255", [0.1, 0.2], sees=sees, t=t)]
    judged = [
        finding.split(": ")[0].removeprefix("eps (1/255), ") for finding in findings(summary_of(*entries))
    ]
    assert judged == [
        "no defence, attacker sees none",
        "t=50 σ=0.088, attacker sees same",
        "t=50 σ=0.088, attacker sees fixed_noise",
        "t=50 σ=0.088, attacker sees t50",
    ]


def test_what_is_not_known_is_not_judged():
    assert findings(summary_of(*curve("eps255", [None, 1.0]))) == []
    (finding,) = findings(summary_of(*curve("eps255", [0.5, None, 1.0])))
    assert "0.5 at 1, 1 at 4" in finding


def test_errors_are_judged_by_their_growth():
    entries = [entry("eps255=1", drop=0.5, RMSE=1.5), entry("eps255=8", drop=3.0, RMSE=4.0)]
    summary = summary_of(*entries, utility="RMSE", lower_is_better=True)
    assert measures(summary) == {"utility_drop": "relative growth of RMSE"}
    assert "fine, relative growth of RMSE reaches 300%" in findings(summary)[0]


def test_figure_has_a_column_for_each_setting_and_a_row_for_each_measure():
    steps = curve("steps", [1.0, 2.0, 3.0], "loss") + curve(
        "steps", [0.5, 0.7, 0.8], "loss", sees="same", t=50
    )
    summary = summary_of(*steps, *curve("eps255", [0.5, 1.0]), clean=0.5)
    figure = Figure(layout="constrained")
    sanity_curves(figure, summary)
    losses, _, successes, on_eps = figure.axes
    assert [line.get_ydata().tolist() for line in losses.lines] == [[1.0, 2.0, 3.0], [0.5, 0.7, 0.8]]
    assert losses.lines[0].get_xdata().tolist() == [1, 2, 4]
    assert (successes.get_xlabel(), on_eps.get_xlabel()) == ("steps", "eps (1/255)")
    assert [label.get_text() for label in on_eps.get_xticklabels()] == ["1", "2"]
    assert [axes.get_ylabel().split("\n")[0] for axes in (losses, successes)] == ["loss", "attack success"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "no defence, attacker sees none",
        "t=50 σ=0.088, attacker sees same",
    ]


def run(folder, config):
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    options = [f"--runs={folder}", "--name=run", "--logger=false", "--trainer.accelerator=cpu"]
    evaluate(["--config", str(folder / "config.yaml"), *options])
    return folder / "config" / "run"


class Thresholds(nn.Module):
    """Six classes by the mean of six stripes; told in steps, it has no gradient."""

    def __init__(self, masked: bool) -> None:
        super().__init__()
        self.masked = masked

    def forward(self, image):
        logits = 50 * image.mean((1, 2)).unflatten(1, (-1, 2))[:, :6].mean(2)  # (B, 6)
        return logits.round() if self.masked else logits


@pytest.mark.parametrize("masked", [False, True])
def test_a_masked_gradient_is_found_from_end_to_end(tmp_path, masked):
    network = {"class_path": f"{__name__}.Thresholds", "init_args": {"masked": masked}}
    attacks = {
        f"eps255={eps}": {"class_path": "PGD", "init_args": {"eps": f"{eps}/255", "step_size": f"{eps}/1020"}}
        for eps in (2, 64)
    }
    config = {
        "task": {"class_path": "Classification", "init_args": {"model": network}},
        "data": {"class_path": "Scenes", "init_args": {"size": 16, "limit": 16}},
        "protocol": {"attacks": attacks},
    }
    folder = run(tmp_path, config)
    assert {path.stem for path in (folder / "figures").iterdir()} == {
        "utility",
        "examples",
        "overview",
        "sanity",
    }
    (finding,) = findings(json.loads((folder / "summary.json").read_text()))
    assert ("gradient masking?" in finding) == masked


def test_shipped_sanity_run(tmp_path):
    config = yaml.safe_load((CONFIGS / "sanity_scenes.yaml").read_text())
    for attack in config["protocol"]["attacks"].values():
        attack["init_args"]["steps"] = 1
    config["data"]["init_args"] = {"size": 16, "limit": 1}
    folder = run(tmp_path, config)
    assert (folder / "figures" / "sanity.png").stat().st_size > 10_000
    summary = json.loads((folder / "summary.json").read_text())
    assert list(measures(summary)) == ["loss", "attack_success"]
    curves = {(c.setting, c.attacker_sees, c.defence.split()[0]) for c in find_curves(summary)}
    settings, lines = ("steps", "eps255", "eot"), (("none", "no"), ("same", "t=50"))
    assert curves == {(setting, *line) for setting in settings for line in lines}
    assert len(findings(summary)) == len(curves)
    assert {e["attack"] for e in without_curves(summary)["conditions"]} == {"clean"}
