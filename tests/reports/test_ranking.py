import csv
import io
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from reports.test_comparison import image_means, make_run
from reports.test_report import Page

from dds.cli import evaluate
from dds.reports import comparison, write_comparison
from dds.reports.compared import read_runs
from dds.reports.ranking import describe, rank, rows


def model_run(path, model, purifier, weights, **options):
    """Write a run of a model behind a purifier."""
    folder = make_run(path, **options)
    text = folder.config.read_text().replace("zoo:x", model).replace("zoo:ddpm", purifier)
    folder.config.write_text(text.replace("ab" * 32, weights * 32))
    summary = folder.read_summary() | {"weights": {"task": weights * 32}}
    folder.summary.write_text(json.dumps(summary))
    return folder


def improve(folder, suffix, statistic="correct", value=1.0):
    """Let a run answer right under every attack on a defence."""
    frame = pd.read_parquet(folder.samples)
    touched = frame.condition.str.endswith(suffix) & ~frame.condition.str.startswith("clean")
    frame.loc[touched, statistic] = value
    schema = pa.parquet.read_schema(folder.samples)
    pa.parquet.write_table(pa.Table.from_pandas(frame, schema, preserve_index=False), folder.samples)
    summary, means = folder.read_summary(), image_means(folder, statistic).mean()
    metric = summary["utility"]
    for entry in summary["conditions"]:
        if entry["key"].endswith(suffix) and not entry["key"].startswith("clean"):
            mean = float(means[entry["key"]])
            entry["metrics"][metric] = {"value": mean, "low": mean, "high": mean}
            clean = float(means["clean/-/t0"])
            drop = mean / clean - 1 if summary["lower_is_better"] else 1 - mean / clean
            entry["utility_drop"] = {"value": drop, "low": drop, "high": drop}
    folder.summary.write_text(json.dumps(summary))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two models behind two purifiers, of which the last is much the best, and depth."""
    root = tmp_path_factory.mktemp("ranking")
    names = [(f"zoo:{model}", f"zoo:{purifier}", 2 * model) for model in "ab" for purifier in "pq"]
    found = [model_run(root / "cls" / str(n), *each, seed=n, levels=(50,)) for n, each in enumerate(names)]
    improve(found[3], "/t50")
    return [*found, make_run(root / "depth" / "0", "DepthEstimation", levels=(50,))]


@pytest.fixture(scope="module")
def rankings(folders):
    return rank(read_runs(folders))


def test_each_task_is_ranked_for_itself_by_the_utility_under_the_worst_attack(rankings):
    assert [ranking.runs[0].summary["task"] for ranking in rankings] == ["Classification", "DepthEstimation"]
    for ranking, sign in zip(rankings, (1, -1), strict=True):
        left = [sign * place.left["value"] for place in ranking.places]
        assert left == sorted(left, reverse=True)
        for place in ranking.places:
            comparison = place.run.comparison
            assert place.left == comparison.utility(place.standing.worst)
    best = rankings[0].places[0]
    assert (best.model, best.purifier) == ("zoo:b", "DiffusionDenoiser, zoo:q")
    assert best.standing.name == "t=50 σ=0.088"
    assert rankings[0].order[0].name == "cls/3"


def test_a_model_without_defence_has_one_place_with_the_attack_that_left_least(rankings):
    bare = [place for place in rankings[0].places if place.purifier == "no defence"]
    assert [place.model for place in bare] in (["zoo:a", "zoo:b"], ["zoo:b", "zoo:a"])
    for place in bare:
        weights = place.run.summary["weights"]
        alike = [run.comparison for run in rankings[0].runs if run.summary["weights"] == weights]
        assert place.left["value"] == min(one.utility(one.undefended.worst)["value"] for one in alike)


def test_ranks_are_those_that_the_paired_intervals_leave(folders, rankings):
    """Computed from the samples by another bootstrap of the same images."""
    (ranking, _), random = rankings, np.random.default_rng(3)
    measured = {f"cls/{number}": image_means(folder, "correct") for number, folder in enumerate(folders[:4])}
    means = [measured[place.run.name][place.worst["key"]] for place in ranking.places]
    drawn = random.integers(len(means[0]), size=(2000, len(means[0])))
    resampled = np.stack([mean.to_numpy()[drawn].mean(1) for mean in means])  # (places, 2000)
    for number, place in enumerate(ranking.places):
        low, high = np.percentile(resampled - resampled[number], [2.5, 97.5], axis=1)
        others = np.arange(len(means)) != number
        ends = 1 + (low > 0)[others].sum(), len(means) - (high < 0)[others].sum()
        assert np.abs(np.subtract(ends, (place.first, place.last))).max() <= 1  # at the edge of an interval
        assert place.first <= number + 1 <= place.last
    assert ranking.places[0].rank == "1"
    assert "–" in ranking.places[1].rank


def test_a_run_and_its_copy_share_their_ranks(tmp_path):
    folders = [model_run(tmp_path / "x" / name, "zoo:x", "zoo:p", name * 2, levels=(50,)) for name in "ab"]
    (ranking,) = rank(read_runs(folders))
    ranks = {}
    for place in ranking.places:
        ranks.setdefault((place.purifier, place.left["value"]), set()).add((place.first, place.last))
    assert all(len(found) == 1 for found in ranks.values())
    assert {place.model for place in ranking.places} == {"zoo:x (aaaaaaaa)", "zoo:x (bbbbbbbb)"}


def test_without_attacks_nothing_is_ranked(tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "draw_comparison", lambda *arguments: [])
    folders = [make_run(tmp_path / "x" / name, attacks=()) for name in "ab"]
    (ranking,) = rank(read_runs(folders))
    assert ranking.places == []
    assert ranking.order == ranking.runs
    assert "so nothing is ranked" in Page(write_comparison(folders, tmp_path / "x.html").read_text()).text


def test_the_page_shows_ranking_and_models_by_purifiers(folders, rankings, tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "draw_comparison", lambda *arguments: [])
    page = write_comparison(folders, tmp_path / "all.html").read_text()
    section = page[page.index('<section id="ranking"') :]
    shown = [[cell["text"] for cell in row] for row in Page(section[: section.index("</section>") + 10]).rows]
    place = rankings[0].places[0]
    assert ["model", "no defence", *rankings[0].purifiers[1:]] in shown
    (matrix,) = (row for row in shown if row[0] == "zoo:b")
    assert any(cell.split() == ["1.000", "rank", "1"] for cell in matrix)
    (row,) = (row for row in shown if row[:2] == ["1", "cls/3"])
    assert row[2:5] == ["zoo:b", "DiffusionDenoiser, zoo:q", "t=50 σ=0.088"]
    assert row[5].startswith("1.000")
    assert row[6].startswith(f"{place.kept['value']:.1f} %")
    first = [row[0] for row in (r for r in shown if len(r) == 9)]
    assert len(first) == 2 + sum(len(ranking.places) for ranking in rankings)  # with two heads


@pytest.mark.parametrize("show", ["json", "csv"])
def test_scripts_get_the_ranking_alone(folders, rankings, tmp_path, capsys, show):
    paths = [str(folder.path) for folder in folders]
    with pytest.MonkeyPatch.context() as patch:  # drawing takes seconds, and is tested above
        patch.setattr(comparison, "draw_comparison", lambda *arguments: [])
        evaluate(["compare", *paths, f"--out={tmp_path / 'all.html'}", f"--show={show}"])
    said, expected = capsys.readouterr().out, rows(rankings)
    assert (tmp_path / "all.html").is_file()
    if show == "json":
        assert json.loads(said) == expected
    else:
        found = list(csv.DictReader(io.StringIO(said)))
        assert [row["model"] for row in found] == [row["model"] for row in expected]
        assert [float(row["worst_low"]) for row in found] == [row["worst_low"] for row in expected]
    assert expected[0]["rank_first"] == expected[0]["rank_last"] == 1
    assert expected[0]["worst"] == 1
    assert expected[0]["kept_percent"] == pytest.approx(100 / expected[0]["clean"], rel=0.2)


TIMM = {"class_path": "timm.create_model", "init_args": {"model_name": "resnet18"}}
LOADED = {"model": {"class_path": "a.Net", "init_args": {"size": "s"}}, "weights": "w/n.pth"}


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        (None, "none"),
        ("zoo:scenes-ddpm", "zoo:scenes-ddpm"),
        ("runs/train/a/model.safetensors", "runs/train/a/model.safetensors"),
        ("torchvision.models.resnet.ResNet", "ResNet"),
        (TIMM, "create_model, resnet18"),
        ({"class_path": "dds.models.pretrained", "init_args": LOADED}, "Net, s, n.pth"),
    ],
)
def test_names_of_models(spec, name):
    assert describe(spec) == name
