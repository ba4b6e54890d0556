"""What is not finite is no answer: in every task it counts as wrong and is marked."""

import numpy as np
import pytest
import torch
from callbacks.test_attack_and_purify import run
from conftest import TinyClassifier, metrics_of
from torch import nn

from dds.batch import NO_CLASS, View
from dds.callbacks import AttackAndPurify
from dds.data import BaseDataModule
from dds.purifiers import DiffusionDenoiser
from dds.tasks import (
    Classification,
    DepthEstimation,
    ImageRetrieval,
    MultiLabelClassification,
    ObjectDetection,
    SemanticSegmentation,
)
from dds.tasks.classes import likeliest_class
from tasks.test_detection import batch_of

NAN, INF = torch.nan, torch.inf


def measure(task, image, batch):
    """Return the statistics of one view of a batch."""
    view = View(("a/none/t0",), image, [image])
    (record,) = task._measure(view, {"image": torch.zeros_like(image), **batch}, pictured=False)
    return record.statistics


class Constant(nn.Module):
    """Answers the same to every image, whatever is in it."""

    def __init__(self, answer):
        super().__init__()
        self.answer = torch.as_tensor(answer)

    def forward(self, image):
        return self.answer.expand(len(image), *self.answer.shape[1:]).clone()


BROKEN = torch.tensor([0.5, NAN, 0.5, INF]).reshape(4, 1, 1, 1) * torch.ones(1, 3, 8, 8)


def test_a_class_may_be_ruled_out_but_not_be_nothing():
    logits = torch.tensor([[1.0, 2, -INF], [NAN, 2, 1], [INF, 2, 1], [-INF, -INF, -INF], [1, NAN, 2]])
    assert likeliest_class(logits).tolist() == [1, *[NO_CLASS] * 4]


def test_classification():
    statistics = measure(Classification(Constant([[9.0, 0, 0]])), BROKEN, {"label": torch.zeros(4).long()})
    assert statistics["correct"].tolist() == [1, 0, 1, 0]
    assert statistics["not_finite"].tolist() == [0, 1, 0, 1]


def test_the_answers_of_draws_that_are_none_have_a_vote():
    task = Classification(TinyClassifier())
    assert task.combine(torch.tensor([[NO_CLASS], [NO_CLASS], [2]])).tolist() == [NO_CLASS]


def test_segmentation_counts_a_pixel_without_an_answer_as_missed():
    logits = torch.zeros(1, 3, 2, 2)
    logits[:, 0] = 5
    logits[0, 1, 0, 0] = NAN
    task = SemanticSegmentation(Constant(logits))
    statistics = measure(task, torch.zeros(1, 3, 2, 2), {"mask": torch.zeros(1, 2, 2).long()})
    assert statistics["intersection"].tolist() == statistics["predicted"].tolist() == [[3, 0, 0]]
    assert statistics["labelled"].tolist() == [[4, 0, 0]]
    assert statistics["iou"].item() == statistics["not_finite"].item() * 3 / 4
    (picture,) = task.render(torch.full((1, 2, 2), NO_CLASS), {})
    assert picture.shape == (2, 2, 3)


def test_multi_label_takes_the_wrong_answer_for_none():
    task = MultiLabelClassification(Constant([[NAN, NAN, 3.0]]))
    labels = torch.tensor([[1.0, 0, 1]])
    batch = {"image": torch.zeros(1, 3, 8, 8), "labels": labels}
    decision = task.decide(task(batch["image"]))
    assert task.statistics(decision, batch)["accuracy"].item() == pytest.approx(1 / 3)
    assert not task.answered(decision)


def test_multi_label_ranks_what_is_no_answer_last_where_it_is_right():
    task = MultiLabelClassification(TinyClassifier())
    labels = torch.tensor([[1.0], [0.0], [0.0]])
    batch = {"image": torch.zeros(3, 3, 8, 8), "labels": labels}
    found = metrics_of(task, [(torch.tensor([[NAN], [0.2], [NAN]]), batch)])
    assert found["mAP"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("answer", [NAN, INF, -INF])
@pytest.mark.parametrize(("true", "error"), [(2.0, 8.0), (8.0, 8.0 - 1e-3)])
def test_depth_is_as_wrong_as_it_can_be(answer, true, error):
    task = DepthEstimation(Constant(torch.full((1, 1, 4, 4), answer)))
    statistics = measure(task, torch.zeros(2, 3, 4, 4), {"depth": torch.full((2, 4, 4), true)})
    assert statistics["rmse"].tolist() == pytest.approx([error] * 2)
    assert statistics["delta1"].tolist() == [0, 0]
    assert statistics["not_finite"].tolist() == [1, 1]
    assert np.array(task.render(torch.full((1, 4, 4), NAN), {"depth": torch.ones(1, 4, 4)})).shape == (
        1,
        4,
        4,
        3,
    )


def test_retrieval_finds_what_is_right_last():
    task = ImageRetrieval(TinyClassifier())
    task.databases["t0"] = torch.eye(4)
    relevance = torch.tensor([[2, 0, 0, 1]] * 2, dtype=torch.int8)
    batch = {"image": torch.zeros(2, 3, 8, 8), "relevance": relevance}
    decision = torch.tensor([[1.0, 0, 0, 0], [NAN, 0, 0, 0]])
    assert task.statistics(decision, batch)["p@1_medium"].tolist() == [1, 0]
    assert task.statistics(decision, batch)["ap_medium"].tolist() == pytest.approx([1, 1 / 6])
    assert task.answered(decision).tolist() == [True, False]


def test_retrieval_marks_every_query_to_a_database_that_is_not_finite():
    task = ImageRetrieval(TinyClassifier())
    task.databases["t0"] = torch.eye(4).where(torch.eye(4)[0] == 0, NAN)
    assert task.answered(torch.eye(4)[:2]).tolist() == [False, False]


class Detector(nn.Module):
    def __init__(self, box, score):
        super().__init__()
        self.box, self.score = box, score

    def forward(self, images):
        box, score = torch.tensor([self.box, [0.0, 0, 4, 4]]), torch.tensor([self.score, 0.9])
        return [{"boxes": box, "scores": score, "labels": torch.ones(2).long()} for _ in images]


@pytest.mark.parametrize(
    ("box", "score"), [([NAN, 0, 4, 4], 0.95), ([0.0, 0, 4, 4], NAN), ([0, 0, INF, 4], 1.0)]
)
def test_detections_that_are_not_finite_are_none(box, score):
    objects = {
        "boxes": torch.tensor([[0.0, 0, 4, 4], [4, 4, 8, 8]]),
        "classes": torch.ones(2).long(),
        "crowd": torch.zeros(2).bool(),
    }
    task = ObjectDetection(Detector(box, score))
    statistics = measure(task, torch.zeros(1, 3, 8, 8), batch_of([objects], 2))
    assert statistics["not_finite"].item() == 1
    assert statistics["f1"].item() == pytest.approx(2 / 3)  # one of two objects, and nothing else
    assert sorted(statistics["scores"][0].tolist())[-2:] == [0, pytest.approx(0.9)]


def test_an_image_that_is_not_finite_has_no_answer_even_where_there_is_nothing_to_find():
    nothing = {"boxes": torch.zeros(0, 4), "classes": torch.zeros(0).long(), "crowd": torch.zeros(0).bool()}
    task = ObjectDetection(Detector([0.0, 0, 1, 1], 0.1))
    statistics = measure(task, torch.full((1, 3, 8, 8), NAN), batch_of([nothing], 1))
    assert (statistics["f1"].item(), statistics["not_finite"].item()) == (0, 1)


class BrokenDenoiser(nn.Module):
    """As a network that overflows in half precision."""

    def forward(self, noisy, t):
        return noisy * NAN


class Zeros(BaseDataModule):
    def load(self, split):
        return [{"image": torch.rand(3, 8, 8), "label": torch.tensor(0)} for _ in range(2)]


def test_behind_a_purifier_that_overflows_no_image_of_class_0_is_right():
    table = run(AttackAndPurify(DiffusionDenoiser(BrokenDenoiser()), [50], draws=1), Zeros())
    rows = [row for (key, _, _), row in table.items() if key == "clean/-/t50"]
    assert [(row["correct"].item(), row["not_finite"].item()) for row in rows] == [(0, 1)] * 2
