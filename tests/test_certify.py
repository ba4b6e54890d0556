"""`dds.certify` and `evaluate.py certify`: from networks to guarantees."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import TinyClassifier, TinyNoiseNetwork, TinySegmenter, run_processes
from scipy.optimize import minimize
from scipy.special import betaln
from scipy.stats import beta, binom, norm
from test_cli import in_folder  # noqa: F401
from torch import nn

import dds
from dds.certificates import Certificate
from dds.cli import evaluate
from dds.noise import Streams

IMAGES = 5


def pairs(target):
    generator = torch.Generator().manual_seed(0)
    return [(torch.rand(3, 8, 8, generator=generator), target(number)) for number in range(IMAGES)]


LABELS = pairs(lambda number: number % 4)
MASKS = pairs(lambda number: torch.arange(64).reshape(8, 8) % 5)
DEPTHS = pairs(lambda number: torch.linspace(1, 5, 64).reshape(8, 8))


def make_protocol(**options):
    torch.manual_seed(1)
    return dds.AttackAndPurify(dds.purifiers.DiffusionDenoiser(TinyNoiseNetwork()), [50, 145], **options)


def classification():
    torch.manual_seed(0)
    return dds.tasks.Classification(TinyClassifier())


def certify(folder, task=None, data=LABELS, protocol=None, **options):
    options = {
        "certificate": Certificate(draws=30, max_draws=60),
        "accelerator": "cpu",
        "quiet": True,
        **options,
    }
    return dds.certify(task or classification(), data, protocol or make_protocol(), folder=folder, **options)


def holds(yes, draws, needed, alpha):
    """The test of Voracek 2024, written anew: one answer, after any number of draws."""
    mixture = betaln(yes + 0.5, draws - yes + 0.5) - betaln(0.5, 0.5)
    evidence = mixture - yes * np.log(needed) - (draws - yes) * np.log(1 - needed)
    return yes > needed * draws and evidence >= -np.log(alpha)


def holding_together(yes, draws, needed, alpha):
    """The same of several answers, corrected as Holm did: the surest first, each at alpha by those left."""
    kept = np.zeros(len(yes), bool)
    for left, place in zip(range(len(yes), 0, -1), np.argsort(yes)[::-1], strict=True):
        if not holds(yes[place], draws, needed, alpha / left):
            break
        kept[place] = True
    return kept


def test_everything_is_recomputed_from_the_draws_without_the_package(tmp_path):
    wanted = Certificate(radii=[0.02, 0.1], alpha=0.01, draws=30, max_draws=60)
    results = certify(tmp_path / "run", certificate=wanted)
    samples = pd.read_parquet(tmp_path / "run" / "samples.parquet")
    table = pd.read_parquet(tmp_path / "run" / "certificates.parquet")
    sigmas = {"t50": 0.0880, "t145": 0.2516}
    assert len(table) == 2 * IMAGES * 2 * 2  # levels, images, radii, kinds
    for _, row in table.iterrows():
        drawn = samples[(samples["index"] == row["index"]) & (samples.condition == f"clean/-/{row.defence}")]
        right, sigma = int(drawn.correct.sum()), sigmas[row.defence]
        bound = beta.ppf(0.01, right, 31 - right) if right else 0.0
        assert len(drawn) == 30
        assert row["mean"] == pytest.approx(right / 30)
        assert row.sigma == pytest.approx(sigma, abs=5e-5)
        if row.kind == "score":
            assert row.value == pytest.approx(norm.cdf(norm.ppf(bound) - row.radius / row.sigma), abs=1e-6)
        else:
            (yes,) = row.counts
            needed = norm.cdf(row.radius / row.sigma)
            assert row.value == holds(yes, row.draws, needed, 0.01)
            first = drawn.sort_values("draw").correct.to_numpy()[: row.draws]
            assert first.sum() <= yes <= first.sum() + row.draws - len(first)
            decided = [*map(lambda n: first[:n].sum(), range(1, len(first) + 1))]
            assert not any(holds(one, n, needed, 0.01) for n, one in enumerate(decided[: row.draws - 1], 1))
            assert row.decided or row.draws == 60
    for entry in results.summary["certificates"]["entries"]:
        same = table[(table.defence == entry["defence"]) & (table.kind == entry["kind"])]
        same = same[same.radius == entry["radius"]]
        assert entry["images"] == len(same) == IMAGES
        assert entry["mean"] == pytest.approx(same["mean"].mean())
        if entry["kind"] == "vote":
            assert entry["value"] == same.value.mean()
        else:
            assert (
                entry["value"] <= norm.cdf(norm.ppf(same["mean"]) - entry["radius"] / entry["sigma"]).mean()
            )


def test_batches_and_interruptions_change_nothing(tmp_path, monkeypatch):
    whole = certify(tmp_path / "whole")
    batches = [dds.data.GivenData(LABELS, "label"), dds.data.GivenData(LABELS, "label")]
    batches[0].batch_size, batches[1].batch_size = 2, 2
    other = certify(tmp_path / "batches", data=batches[0])
    columns = ["mean", "value", "draws"]
    np.testing.assert_allclose(other.certificates[columns], whole.certificates[columns])
    begun, write = [], dds.evaluation.ResultsWriter.on_test_batch_end

    def stop(self, *args, **options):
        write(self, *args, **options)
        begun.append(1)
        if len(begun) == 1:
            raise RuntimeError("stopped")

    monkeypatch.setattr(dds.evaluation.ResultsWriter, "on_test_batch_end", stop)
    with pytest.raises(RuntimeError, match="stopped"):
        certify(tmp_path / "resumed", data=batches[1])
    resumed = certify(
        tmp_path / "resumed", data=dds.data.GivenData(LABELS, "label", batch_size=2), resume=True
    )
    pd.testing.assert_frame_equal(resumed.certificates, other.certificates)
    assert resumed.summary["certificates"] == other.summary["certificates"]


def test_a_run_is_not_continued_with_other_draws_or_levels_of_another_schedule(tmp_path):
    few = Certificate(draws=3, kinds=["score"])
    certify(tmp_path / "run", certificate=few)
    more = Certificate(draws=4, kinds=["score"])
    with pytest.raises(dds.InputError, match=r"(?s)another configuration:.*\n\+  draws: 4"):
        certify(tmp_path / "run", certificate=more, resume=True)
    torch.manual_seed(1)
    steeper = dds.purifiers.DiffusionDenoiser(TinyNoiseNetwork(), scheduler={"beta_end": 0.03})
    protocol = dds.AttackAndPurify(steeper, [50, 145])
    with pytest.raises(dds.InputError, match=r"(?s)another configuration:.*\+# levels: t50 sigma 0\.10"):
        certify(tmp_path / "run", protocol=protocol, certificate=few, resume=True)


def least_iou(counts):
    """Give the pixels that abstain to classes so that the mean IoU is least, by a general solver."""
    hit, predicted, labelled = counts[:-1].reshape(3, -1)
    union, free = predicted + labelled - hit, int(counts[-1])
    there = union > 0
    if not there.any():
        return 0.0
    hit, union, absent = hit[there], union[there], int((~there).sum())
    start = np.full(len(hit), free / len(hit))
    found = minimize(
        lambda given: (hit / (union + given)).sum(),
        start,
        bounds=[(0, free)] * len(hit),
        constraints={"type": "eq", "fun": lambda given: given.sum() - free},
        tol=1e-12,
    )
    return found.fun / (len(hit) + min(absent, free))


def test_what_is_certified_of_pixels_follows_from_its_counts(tmp_path):
    torch.manual_seed(0)
    task = dds.tasks.SemanticSegmentation(TinySegmenter())
    wanted = Certificate(draws=40, radii=[0.01, 0.05], kinds=["vote"], images=3)
    results = certify(tmp_path / "run", task, MASKS, certificate=wanted)
    table = results.certificates
    of_pixels, of_classes = (table[table.score == name] for name in ("pixel_accuracy", "iou"))
    assert len(of_pixels) == len(of_classes) == 3 * 2 * 2  # images, levels, radii
    for (_, row), (_, same) in zip(of_pixels.iterrows(), of_classes.iterrows(), strict=True):
        right, kept, pixels = row.counts
        hit, predicted, labelled = same.counts[:-1].reshape(3, 5)
        assert (right, kept, pixels) == (hit.sum(), predicted.sum(), labelled.sum())
        assert row.value == pytest.approx(right / pixels)
        assert (row["index"], row.draws, same.counts[-1]) == (same["index"], 40, pixels - kept)
        assert same.value == pytest.approx(least_iou(same.counts), abs=1e-5)
    assert of_classes.value.max() > 0.05
    for entry in results.summary["certificates"]["entries"]:
        pooled = entry["score"] == "mIoU"
        rows = table[
            (table.score == ("iou" if pooled else entry["score"])) & (table.radius == entry["radius"])
        ]
        rows = rows[rows.defence == entry["defence"]]
        least = least_iou(rows.counts.sum()) if pooled else rows.value.mean()
        assert entry["value"] == pytest.approx(least, abs=1e-5)
    assert [entry["score"] for entry in results.summary["certificates"]["entries"]].count("mIoU") == 4
    assert results.summary["certificates"]["selection_draws"] == 10


def test_no_attack_and_no_measurement_has_seen_the_noise(tmp_path, monkeypatch):
    seen, child = {}, Streams._draw

    def remember(self, sample, like):
        seen.setdefault(now, set()).update(map(self.key, range(len(self.index))))
        return child(self, sample, like)

    monkeypatch.setattr(Streams, "_draw", remember)
    now = "evaluation"
    attacks = {"pgd": dds.attacks.PGD(steps=2)}
    attacked = make_protocol(attacks=attacks, attacker_sees=["none", "same", "fixed_noise"], draws=3)
    dds.evaluate(classification(), LABELS, attacked, tmp_path / "run", accelerator="cpu", quiet=True)
    now = "certificate"
    certify(tmp_path / "certified", protocol=attacked)
    drawn = {one for one in seen["certificate"] if one[2] == "certificate"}
    assert 30 * IMAGES < len(drawn) <= 60 * IMAGES  # the same at each level, some until they are decided
    assert not drawn & seen["evaluation"]


def test_no_attack_within_the_radius_gets_below_the_certificate(tmp_path):
    """A network that an attack of this size turns over, and a certificate that knows it."""
    radius, task, noise = 0.5, classification(), {"noise": dds.purifiers.NoiseOnly(0.5)}
    labels = [(image, int(task(image[None]).argmax())) for image, _ in LABELS]
    wanted = Certificate(radii=[radius], draws=100, kinds=["score"])
    plain = dds.AttackAndPurify(defences=noise)
    certified = certify(tmp_path / "certified", task, labels, plain, certificate=wanted)
    (bound,) = certified.summary["certificates"]["entries"]
    strong = {"pgd_l2": dds.attacks.PGD(eps=radius, step_size=0.2, steps=5, norm="l2", eot=4)}
    attacked = dds.AttackAndPurify(defences=noise, attacks=strong, attacker_sees=["same"], draws=40)
    results = dds.evaluate(task, labels, attacked, tmp_path / "run", accelerator="cpu", quiet=True)
    left = results.table.accuracy["pgd_l2/same/noise"]
    assert 0 < bound["value"] <= left < bound["mean"]


def test_graded_scores_of_other_tasks(tmp_path):
    torch.manual_seed(0)
    tasks = {
        "segmentation": (dds.tasks.SemanticSegmentation(TinySegmenter()), MASKS, {"iou", "pixel_accuracy"}),
        "depth": (
            dds.tasks.DepthEstimation(nn.Conv2d(3, 1, 3, padding=1), log_output=True),
            DEPTHS,
            {"delta1", "closeness"},
        ),
    }
    for name, (task, data, scores) in tasks.items():
        results = certify(tmp_path / name, task, data)
        entries = results.summary["certificates"]["entries"]
        scored = [entry for entry in entries if entry["kind"] == "score"]
        voted = [entry for entry in entries if entry["kind"] == "vote"]
        assert {entry["score"] for entry in scored} == scores
        pooled = {"mIoU"} if name == "segmentation" else set()
        assert {entry["score"] for entry in voted} == set(task.votes) | pooled
        assert all(0 <= entry["value"] <= entry["mean"] <= 1 for entry in scored)
        for entry in voted:
            worse = 1 if entry["lower_is_better"] else -1
            assert worse * (entry["value"] - entry["mean"]) >= 0
        assert [entry["radius"] / entry["sigma"] for entry in entries[:3]] == pytest.approx([0.25, 0.5, 1])
        assert results.certificates.certified_radius.isna().all()


def test_defences_without_a_certificate_are_left_out_in_words(tmp_path):
    protocol = make_protocol(defences={"jpeg": dds.purifiers.JPEG(), "noise": dds.purifiers.NoiseOnly(0.1)})
    results = certify(tmp_path / "run", protocol=protocol)
    assert set(results.certificates.defence) == {"t50", "t145", "noise"}
    assert set(results.certificates[results.certificates.defence == "noise"].sigma) == {0.1}
    assert "JPEG has no certificate" in results.summary["certificates"]["refused"]["jpeg"]
    only = dds.AttackAndPurify(defences={"jpeg": dds.purifiers.JPEG()})
    with pytest.raises(dds.InputError, match="nothing to certify: JPEG has no certificate"):
        certify(tmp_path / "other", protocol=only)


class OfTheBatch(nn.Module):
    """Answers by the mean of the batch."""

    def __init__(self):
        super().__init__()
        self.network = TinyClassifier()

    def forward(self, image):
        return self.network(image - image.mean(0, keepdim=True))


def test_a_network_whose_answer_hangs_on_the_batch_is_refused(tmp_path):
    with pytest.raises(dds.InputError, match="changes with the other images of a batch.*no radius holds"):
        certify(tmp_path / "run", dds.tasks.Classification(OfTheBatch()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radii": [-0.1]}, r"radii=\[-0.1\]; expected L2 radii of at least 0"),
        ({"radii": [0.5]}, "60 draws prove no radius of 0.5 .* max_draws of at least 444, smaller radii, or"),
        ({"radii": [9.0]}, "60 draws prove no radius of 9 .* expected smaller radii, or"),
        ({"max_draws": 5}, "votes of 5 draws prove no radius of 0.0629 .* max_draws of at least 18"),
        ({"draws": 0}, "draws=0; expected a whole number of at least 1"),
        ({"alpha": 1.5}, "alpha=1.5; expected a probability"),
        ({"kinds": ["votes"]}, r"kinds=\['votes'\]; expected score, vote or both"),
    ],
)
def test_what_cannot_be_certified_is_refused_before_any_work(tmp_path, options, message):
    with pytest.raises(dds.InputError, match=message):
        certify(tmp_path / "run", certificate=Certificate(**{"draws": 30, "max_draws": 60, **options}))
    assert not (tmp_path / "run").exists()


class WithoutVotes(dds.tasks.Classification):
    votes = {}


def test_votes_are_refused_where_the_task_names_none(tmp_path):
    task, votes = WithoutVotes(TinyClassifier()), Certificate(kinds=["vote"])
    with pytest.raises(dds.InputError, match="holds vote, but WithoutVotes names nothing that draws vote on"):
        certify(tmp_path / "run", task, certificate=votes)
    entries = certify(tmp_path / "run", task).summary["certificates"]["entries"]
    assert {entry["kind"] for entry in entries} == {"score"}


def test_draws_that_cannot_prove_anything_of_all_pixels_are_refused(tmp_path):
    """30 draws, all agreeing, are enough for one pixel at .25 sigma, not for 64 together."""
    task = dds.tasks.SemanticSegmentation(TinySegmenter())
    with pytest.raises(dds.InputError, match="votes of 20 draws prove no radius .* of at least 22, smaller"):
        certify(tmp_path / "run", task, MASKS, certificate=Certificate(draws=20))


def test_a_score_outside_0_and_1_is_refused(tmp_path, monkeypatch):
    scores = dds.tasks.Classification.unit_scores
    monkeypatch.setattr(
        dds.tasks.Classification, "unit_scores", lambda *of: {"twice": 2 * scores(*of)["correct"] + 1}
    )
    with pytest.raises(dds.InputError, match=r"scores span .*3\]; expected"):
        certify(tmp_path / "run", certificate=Certificate(draws=3, kinds=["score"]))


def test_no_certificates_of_a_mere_evaluation(tmp_path):
    results = dds.evaluate(
        classification(), LABELS, make_protocol(draws=2), tmp_path / "run", accelerator="cpu", quiet=True
    )
    with pytest.raises(dds.InputError, match=r"holds no certificates; expected a run of dds\.certify"):
        _ = results.certificates


def test_from_the_command_line(in_folder, capsys):  # noqa: F811
    options = ["certify", "--config=cls_scenes.yaml", "--data.limit=2", "--protocol.noise_levels=[50]"]
    options += [
        "--certificate.draws=15",
        "--certificate.max_draws=30",
        "--certificate.radii=[0.02]",
        "--trainer.accelerator=cpu",
    ]
    evaluate([*options, "--plan", "--show=json"])
    plan = json.loads(capsys.readouterr().out)
    assert plan["conditions"] == ["clean/-/t0", "clean/-/t50"]
    assert plan["total"]["purifier"] == {"forward": 15, "backward": 0}
    evaluate([*options, f"--runs={in_folder}", "--name=one", "--logger=false"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "Certified, L2, at confidence 0.999: 15 draws an image" in printed
    assert "score: the mean over these images of the expected score" in printed
    folder = in_folder / "cls_scenes_certified" / "one"
    assert {
        entry["kind"]
        for entry in json.loads((folder / "summary.json").read_text())["certificates"]["entries"]
    } == {
        "score",
        "vote",
    }
    evaluate(["report", str(folder)])
    evaluate(["certify", str(folder), "--show=path"])
    assert capsys.readouterr().out.strip().endswith(str(folder))
    assert len(dds.Results.read(folder).certificates) == 4


def test_a_run_that_there_is_is_certified_beside_it(in_folder, capsys):  # noqa: F811
    options = ["--config=cls_scenes.yaml", "--data.limit=2", "--protocol.noise_levels=[50]"]
    options += ["--protocol.attacks=null", "--protocol.draws=2", "--trainer.accelerator=cpu"]
    evaluate([*options, f"--runs={in_folder}", "--name=one", "--logger=false"])
    certified = ["certify", str(in_folder / "cls_scenes" / "one"), "--certificate.radii=[0.02]"]
    certified += ["--certificate.draws=3", "--certificate.max_draws=20", "--show=path"]
    capsys.readouterr()
    evaluate(certified)
    folder = in_folder / "cls_scenes_certified" / "one"
    assert capsys.readouterr().out.strip() == str(folder)
    assert set(dds.Results.read(folder).certificates.defence) == {"t50"}
    with pytest.raises(SystemExit):
        evaluate(["certify", str(in_folder)])
    assert "is not the configuration of a run" in capsys.readouterr().err


@pytest.mark.usefixtures("without_figures")
def test_two_processes_and_two_shares_certify_the_same(in_folder):  # noqa: F811
    options = [
        "certify",
        "--config=cls_scenes.yaml",
        "--data.limit=3",
        "--data.size=32",
        "--data.batch_size=2",
        "--logger=false",
    ]
    options += [
        "--protocol.noise_levels=[50]",
        "--certificate.draws=14",
        "--certificate.max_draws=28",
        "--certificate.radii=[0.022,0.044]",
        "--certificate.attack=true",
        f"--runs={in_folder}",
    ]
    evaluate([*options, "--trainer.accelerator=cpu", "--name=one"])
    two = ["--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp", "--name=two"]
    assert run_processes(2, lambda rank: evaluate([*options, *two])) == [0, 0]
    for share in ("1/2", "auto"):
        evaluate([*options, "--trainer.accelerator=cpu", "--name=three", f"--share={share}"])
    runs = in_folder / "cls_scenes_certified"
    one, *others = (dds.Results.read(runs / name) for name in ("one", "two", "three"))
    assert one.certificates.draws.nunique() > 1
    assert one.summary["certificates"]["entries"][0]["of"] == 3
    for other in others:
        pd.testing.assert_frame_equal(one.certificates, other.certificates)
        assert one.summary["certificates"] == other.summary["certificates"]


class Detector(nn.Module):
    """Sees one box in each image, the surer the brighter it is."""

    def forward(self, images, targets=None):
        box, label = torch.tensor([[1.0, 1, 5, 5]]), torch.tensor([1])
        return [{"boxes": box, "labels": label, "scores": image.mean()[None] + 0.2} for image in images]


def objects(number):
    boxes = torch.tensor([[1.0, 1, 5, 4], [4, 4, 7, 7]])[: number % 3]
    return {"boxes": boxes, "labels": torch.ones(len(boxes))}


VOTING = {
    "detection": (dds.tasks.ObjectDetection, Detector(), pairs(objects), {"found": 3, "box_iou": 3}),
    "retrieval": (
        dds.tasks.ImageRetrieval,
        nn.Sequential(nn.AvgPool2d(4), nn.Flatten()),
        (LABELS, [(image.flip(-1), label) for image, label in LABELS]),
        {"p@1_medium": 5, "ap_medium": 5},
    ),
    "labels": (
        dds.tasks.MultiLabelClassification,
        TinyClassifier(),
        dds.data.GivenData(pairs(lambda number: torch.tensor([1, 0, number % 2, -1])), "labels"),
        {"labels_right": 5},
    ),
}


@pytest.mark.parametrize("kind", VOTING)
def test_votes_of_tasks_without_pixels(tmp_path, kind):
    task, network, data, voted = VOTING[kind]
    wanted = Certificate(draws=50, max_draws=60, kinds=["vote"], alpha=0.01)
    noise = dds.AttackAndPurify(defences={"noise": dds.purifiers.NoiseOnly(0.1)})
    results = certify(tmp_path / "run", task(network), data, noise, certificate=wanted)
    entries = results.summary["certificates"]["entries"]
    assert {entry["score"]: entry["images"] for entry in entries} == voted
    for entry in entries:
        assert 0 <= entry["value"] <= 1
        assert entry["value"] <= entry["mean"] + 0.1  # of an answer that most draws give, not of each draw
    assert max(entry["value"] for entry in entries) > 0.1
    table = results.certificates
    samples = results.samples[results.samples.condition == "clean/-/noise"]
    for _, row in table.iterrows():
        ratio = row.radius / 0.1
        if row.score in ("found", "labels_right", "p@1_medium"):
            kept = holding_together(row.counts, row.draws, norm.cdf(ratio), 0.01)
            assert row.value == pytest.approx(kept.mean())
        elif row.score == "ap_medium":
            drawn = np.sort(samples[samples["index"] == row["index"]].ap_medium)
            below = [1 - binom.cdf(place - 1, len(drawn), norm.cdf(-ratio)) for place in range(1, 51)]
            place = sum(chance > 1 - 0.01 for chance in below)  # 1-based
            assert row.value == (drawn[place - 1] if place else 0)
    if kind == "labels":
        assert {len(counts) for counts in table.counts} == {3}
    if kind == "detection":
        found = table[table.score == "found"]
        assert sorted({len(counts) for counts in found.counts}) == [1, 2]
