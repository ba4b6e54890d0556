"""Certificates from below, attacks from above."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import beta
from test_certify import IMAGES, LABELS, certify, classification
from test_cli import in_folder  # noqa: F401

import dds
from dds.certificates import Certificate
from dds.cli import evaluate
from dds.noise import Streams
from dds.reports import write_report
from dds.results import read_run
from dds.results.bracket import upper_bound
from dds.runs import RunFolder

ALPHA, DRAWS, RADII, SIGMA = 0.01, 25, [0.2, 0.5], 0.5
KEYS = {radius: f"pgd_l2@r{radius}/same/noise" for radius in RADII}


def attacked_run(folder, purifier, **options):
    """Certify a network that knows its answers, and attack it."""
    task = classification()
    labels = [(image, int(task(image[None]).argmax())) for image, _ in LABELS]
    wanted = Certificate(
        radii=RADII, alpha=ALPHA, draws=DRAWS, kinds=options.pop("kinds", ["score"]), attack=True
    )
    protocol = dds.AttackAndPurify(defences={"noise": purifier})
    return certify(folder, task, labels, protocol, certificate=wanted, **options)


@pytest.fixture(scope="module")
def bracket(tmp_path_factory):
    """A run, and what random numbers were drawn for in it."""
    paths, draw = {}, Streams._draw

    def remember(self, sample, like):
        paths.setdefault(self.path[0], set()).update((index, self.path) for index in self.index)
        return draw(self, sample, like)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Streams, "_draw", remember)
        results = attacked_run(tmp_path_factory.mktemp("runs") / "run", dds.purifiers.NoiseOnly(SIGMA))
    return results, paths


def test_the_truth_lies_between(bracket):
    results, _ = bracket
    certificates, samples = results.summary["certificates"], results.samples
    assert certificates["bracket"]["comparisons"] == len(RADII) * (IMAGES + 1)
    assert certificates["bracket"]["alpha"] == pytest.approx(ALPHA / 12)
    assert certificates["pixels"] == [8, 8]
    for entry in certificates["entries"]:
        drawn = samples[samples.condition == KEYS[entry["radius"]]]
        assert len(drawn) == IMAGES * 20
        assert 0.9 * entry["radius"] < drawn.l2.max() <= entry["radius"]
        assert entry["attacked"] == pytest.approx(drawn.correct.mean())
        assert 0 < entry["value"] < entry["attacked"] < entry["attacked_upper"]
        assert (entry["agree"], entry["of"], entry["disagree"]) == (IMAGES, IMAGES, [])
        assert entry["linf"] == pytest.approx(entry["radius"] / np.sqrt(3 * 64))
    assert entry["attacked"] < entry["mean"]  # the last, at the largest radius


def test_neither_certificate_nor_attack_has_seen_the_noise_that_attacked_images_meet(bracket):
    _, paths = bracket
    assert {path for _, path in paths["bracket"]} == {("bracket", number) for number in range(20)}
    assert len(paths["certificate"]) == IMAGES * DRAWS
    assert {path[1] for _, path in paths["attack"]} == {key.split("/")[0] for key in KEYS.values()}


def test_page_and_figure_are_made_of_the_folder_alone(bracket):
    results, _ = bracket
    folder = RunFolder(results.folder)
    for suffix in (".png", ".svg"):
        (folder.figures / f"certified{suffix}").unlink()
    page = write_report(folder, read_run(folder)).read_text()
    assert (folder.figures / "certified.png").is_file()
    assert "5 of 5 images agree with the certificates" in page
    assert "on 8x8 pixels a radius r covers 0.0722 r" in page
    assert "under attack (mean)" in page
    assert "No attack was compared" in page


class Liar(dds.purifiers.NoiseOnly):
    """Adds the noise it speaks of where that is tried, and a hundredth of it else."""

    def transform(self, image, streams):
        share = 1.0 if "rehearsal" in streams.path else 0.01
        return (image + share * self.sigma * streams.normal(image)).clamp(0, 1)


def test_a_certificate_that_an_attack_gets_below_is_an_error_when_all_is_written(tmp_path):
    with pytest.raises(dds.InputError, match=r"certificates: image \d at noise, radius 0\.\d, correct"):
        attacked_run(tmp_path / "run", Liar(2.0))
    results = dds.Results.read(tmp_path / "run")
    table = results.certificates
    for entry in results.summary["certificates"]["entries"]:
        drawn = results.samples[results.samples.condition == KEYS[entry["radius"]]]
        right = drawn.groupby("index").correct.sum()
        bound = beta.ppf(1 - ALPHA / 12, right + 1, 20 - right)
        certified = table[table.radius == entry["radius"]].set_index("index").value
        below = certified > np.where(right == 20, 1, bound)
        assert entry["disagree"] == below[below].index.tolist()
        assert entry["agree"] == IMAGES - below.sum() < entry["of"]
    assert "CONTRADICTED: image" in results.report.read_text()


def test_the_command_says_what_it_costs_and_fails_where_a_certificate_does(in_folder, monkeypatch, capsys):  # noqa: F811
    defences = "{noise: {class_path: NoiseOnly, init_args: {sigma: 0.02}}}"
    options = ["certify", "--config=cls_scenes.yaml", "--data.limit=2", "--protocol.purifier=null"]
    options += ["--protocol.noise_levels=[]", f"--protocol.defences={defences}"]
    options += ["--certificate.draws=12", "--certificate.kinds=[score]", "--certificate.attack=true"]
    options += ["--certificate.alpha=0.05"]
    evaluate([*options, "--certificate.radii=[0.02]", "--plan", "--show=json"])
    plan = json.loads(capsys.readouterr().out)
    assert plan["conditions"] == ["clean/-/t0", "clean/-/noise", "pgd_l2@r0.02/same/noise"]
    assert plan["total"]["task"] == {"forward": 1 + 12 + 10 + 12, "backward": 10}
    monkeypatch.setattr(dds.purifiers.NoiseOnly, "certified_sigma", lambda self, level: 20.0)
    monkeypatch.setattr("dds.callbacks.certificate_draws.check_smoothing", lambda *of: None)
    options += [f"--runs={in_folder}", "--name=one", "--logger=false", "--trainer.accelerator=cpu"]
    with pytest.raises(SystemExit) as ended:
        evaluate([*options, "--certificate.radii=[8]"])
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert "error: attacks within the radius contradict certificates: image" in said.err
    assert "CONTRADICTED: image" in " ".join(said.out.split())
    assert (in_folder / "cls_scenes_certified" / "one" / "report.html").is_file()


def test_votes_are_certified_beside_it(tmp_path):
    results = attacked_run(tmp_path / "run", dds.purifiers.NoiseOnly(SIGMA), kinds=None)
    entries = results.summary["certificates"]["entries"]
    assert {entry["kind"] for entry in entries} == {"score", "vote"}
    assert [entry["kind"] for entry in entries if "attacked" in entry] == ["score"] * 2
    assert (results.certificates.groupby("kind")["index"].nunique() == IMAGES).all()


def test_an_upper_bound_is_a_lower_one_of_what_is_missing():
    scores = torch.tensor([1.0, 0, 1, 1, 1])
    assert upper_bound(scores, 0.05, zero_or_one=True) == pytest.approx(beta.ppf(0.95, 5, 1))
    assert upper_bound(np.zeros(20), 1e-3, zero_or_one=True) == pytest.approx(1 - 1e-3 ** (1 / 20))
    random = np.random.default_rng(0)
    missed = sum(upper_bound(random.beta(2, 5, 30), 0.05) < 2 / 7 for _ in range(300))
    assert missed <= 300 * 0.05
    assert upper_bound(random.beta(2, 5, 2000), 0.05) == pytest.approx(2 / 7, abs=0.03)


def test_without_an_attack_there_is_none(tmp_path):
    wanted = Certificate(radii=[0.1], draws=14, alpha=0.05, kinds=["score"])
    protocol = dds.AttackAndPurify(defences={"noise": dds.purifiers.NoiseOnly(SIGMA)})
    results = certify(tmp_path / "run", data=LABELS[:2], protocol=protocol, certificate=wanted)
    assert "bracket" not in results.summary["certificates"]
    assert not any("attacked" in entry for entry in results.summary["certificates"]["entries"])
    assert "under attack (mean)" not in (results.folder / "figures" / "certified.svg").read_text()
    assert isinstance(results.certificates, pd.DataFrame)
