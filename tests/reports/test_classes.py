import csv
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reports.test_comparison import make_run
from reports.test_report import Page

from dds.data import Ade20k, CamVid, Cityscapes, Scenes, VocSegmentation
from dds.reports import page as page_of_run
from dds.reports import write_report
from dds.reports.classes import class_scores
from dds.results.source import open_samples, read_run
from dds.runs.examples import write_examples
from dds.runs.samples import Samples, write_parquet


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of three classes, of which two have names."""
    folder = make_run(tmp_path_factory.mktemp("runs") / "seg" / "a", "SemanticSegmentation", levels=(50,))
    folder.write_summary(folder.read_summary() | {"mask_names": ["sky", "sea <b>"], "score": "iou"})
    show(folder)
    return folder


def show(folder):
    """Give a run the example image that its figures show."""
    shown = np.zeros((1, 4, 4, 3), np.uint8)
    parts = {f"{what}:clean/-/t0": shown for what in ("attacked", "shown", "decision")}
    write_examples({"original": shown, "index": np.array([0]), **parts}, folder.examples)


@pytest.fixture(scope="module")
def scores(folder):
    return class_scores(open_samples(folder, read_run(folder)), read_run(folder))


def of_draws(folder, key):
    """Return the IoU of each class in each draw, from the table alone."""
    frame = pd.read_parquet(folder.samples).query("condition == @key")
    counted = [
        [np.stack(part[name].to_numpy()).sum(0) for name in ("intersection", "predicted", "labelled")]
        for _, part in frame.groupby("draw")
    ]
    return np.array([hit / (predicted + labelled - hit) for hit, predicted, labelled in counted])


def test_the_mean_over_classes_is_the_miou(folder, scores):
    for entry in folder.read_summary()["conditions"]:
        each = of_draws(folder, entry["key"])
        assert len(each) == entry["draws"]
        assert scores.iou[entry["key"]].tolist() == pytest.approx(each.mean(0).tolist())
        assert scores.iou[entry["key"]].mean() == pytest.approx(entry["metrics"]["mIoU"]["value"])
    assert scores.share.sum() == pytest.approx(1)


def test_a_class_that_does_not_occur_has_no_iou_and_no_row(tmp_path):
    counts = {"intersection": [2.0, 0.0, 0.0], "predicted": [4.0, 0.0, 1.0], "labelled": [2.0, 0.0, 0.0]}
    rows = [
        {"index": 0, "condition": key, "draw": draw, **counts, "predicted": [4.0, 0.0, float(1 - draw)]}
        for key, draw in (("clean/-/t0", 0), ("clean/-/t50", 0), ("clean/-/t50", 1))
    ]
    summary = {"conditions": [{"key": "clean/-/t0"}, {"key": "clean/-/t50"}]}
    write_parquet(pa.Table.from_pylist(rows), tmp_path / "samples.parquet")
    scores = class_scores(Samples(tmp_path / "samples.parquet"), summary)
    assert [row["class"] for row in scores.rows(["clean/-/t0"])] == [0, 2]
    assert scores.rows(["clean/-/t0", "clean/-/t50"])[1]["iou"] == [0, 0]
    assert np.isnan(scores.iou["clean/-/t50"][1])
    assert scores.to_csv().splitlines()[1] == "0,,1.0,0.5,0.5"


@pytest.fixture
def no_figures(monkeypatch):
    """Drawing takes seconds."""
    monkeypatch.setattr(page_of_run, "draw_figures", lambda *arguments: [])


def test_a_report_reads_lists_of_one_condition_at_a_time(folder, no_figures, monkeypatch):
    """All of them together do not fit into the memory."""
    read, asked = pq.ParquetFile.read, []

    def note(self, columns):
        asked.append(columns)
        return read(self, columns)

    monkeypatch.setattr(pq.ParquetFile, "read", note)
    write_report(folder, read_run(folder))
    assert asked
    assert not any(columns is None or "intersection" in columns for columns in asked)


def test_the_report_shows_each_class_clean_and_under_the_worst_attack(folder, scores, no_figures):
    write_report(folder, read_run(folder))
    page = folder.report.read_text()
    section = page[page.index('<section id="classes"') :]
    head, *shown = Page(section[: section.index("</section>") + 10]).rows
    assert [cell["text"] for cell in head][:4] == [
        "class",
        "share of pixels",
        "no defence, clean",
        "no defence, worst",
    ]
    assert [row[0]["text"] for row in shown] == ["0 sky", "1 sea <b>", "2"]
    worst = min(
        (entry for entry in folder.read_summary()["conditions"] if entry["key"].endswith("/t0")),
        key=lambda entry: entry["metrics"]["mIoU"]["value"],
    )["key"]
    for place, row in enumerate(shown):
        assert float(row[2]["value"]) == scores.iou["clean/-/t0"][place]
        assert float(row[3]["value"]) == scores.iou[worst][place]
    with folder.classes.open() as file:
        lines = list(csv.DictReader(file))
    assert [line["name"] for line in lines] == ["sky", "sea <b>", ""]
    assert float(lines[2]["pgd/same/t50"]) == scores.iou["pgd/same/t50"][2]


def test_other_tasks_have_no_classes(tmp_path, no_figures):
    folder = make_run(tmp_path / "cls" / "a", levels=(50,), attacks=())
    show(folder)
    write_report(folder, read_run(folder))
    assert not folder.classes.exists()
    assert 'id="classes"' not in folder.report.read_text()


def test_data_modules_name_their_classes(tmp_path):
    (tmp_path / "objectInfo150.txt").write_text("Idx\tRatio\tTrain\tVal\tName\n1\t.1\t2\t3\twall, panel\n")
    assert Ade20k(str(tmp_path)).mask_names == ["wall"]
    assert Ade20k(str(tmp_path / "nowhere")).mask_names == []
    known = {len(one.mask_names): one.mask_names[-1] for one in (Scenes, VocSegmentation, CamVid, Cityscapes)}
    assert known == {8: Scenes.mask_names[-1], 21: "tvmonitor", 11: "bicyclist", 19: "bicycle"}
    assert json.loads(json.dumps(Scenes.mask_names))[:2] == ["sky", "ground"]
