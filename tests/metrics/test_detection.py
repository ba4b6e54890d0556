import contextlib
import io

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from dds.metrics.detection import RECALLS, THRESHOLDS, average_precisions, match, recalls_up_to

CLASSES = 4


def random_image(random, objects, detections):
    """Draw objects, and detections near them, on a coarse grid: scores and overlaps are often equal."""
    boxes, classes = random_boxes(random, objects), random.integers(1, CLASSES + 1, objects)
    found, labels = random_boxes(random, detections), random.integers(1, CLASSES + 1, detections)
    if objects:
        meant, near = random.integers(0, objects, detections), random.random(detections) < 0.8
        found[near] = boxes[meant[near]] + random.integers(-1, 2, (near.sum(), 4)) * random.integers(0, 3)
        labels = np.where(random.random(detections) < 0.8, classes[meant], labels)
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32),
        "classes": torch.tensor(classes),
        "crowd": torch.tensor(random.random(objects) < 0.2),
        "found": torch.tensor(found, dtype=torch.float32),
        "labels": torch.tensor(labels),
        "scores": torch.tensor(random.integers(1, 20, detections) / 20, dtype=torch.float32),
    }


def random_boxes(random, count):
    corner, extent = random.integers(0, 40, (count, 2)), random.integers(2, 5, (count, 2)) * 5
    return np.concatenate([corner, corner + extent], axis=1).astype(float)


def random_images(seed, count=12):
    """Draw images with many, few and no objects and detections."""
    random = np.random.default_rng(seed)
    return [
        random_image(random, random.choice([0, 1, 4, 8]), random.choice([0, 3, 10, 30])) for _ in range(count)
    ]


def coco_evaluation(images):
    """Evaluate with pycocotools; annotations and detections are numbered through the images, from 1 on."""
    annotations, results = [], []
    for number, image in enumerate(images, start=1):
        for box, category, crowd in zip(
            *(image[key].tolist() for key in ("boxes", "classes", "crowd")), strict=True
        ):
            width, height = box[2] - box[0], box[3] - box[1]
            annotation = {"bbox": [*box[:2], width, height], "area": width * height, "iscrowd": int(crowd)}
            annotations.append(
                {"id": len(annotations) + 1, "image_id": number, "category_id": category, **annotation}
            )
        for box, category, score in zip(
            *(image[key].tolist() for key in ("found", "labels", "scores")), strict=True
        ):
            box = [*box[:2], box[2] - box[0], box[3] - box[1]]
            results.append({"image_id": number, "category_id": category, "bbox": box, "score": score})
    truth = COCO()
    truth.dataset = {
        "images": [{"id": number} for number in range(1, len(images) + 1)],
        "categories": [{"id": category} for category in range(1, CLASSES + 2)],  # the last occurs nowhere
        "annotations": annotations,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def matches_of_coco(images):
    """Return what pycocotools says of each detection: right and ignored, `[detections, 10]`."""
    evaluation = coco_evaluation(images)
    count = sum(len(image["scores"]) for image in images)
    right, ignored = np.zeros((2, count, len(THRESHOLDS)), dtype=bool)
    whole_range = evaluation.params.areaRng[0]
    for entry in evaluation.evalImgs:
        if entry is not None and entry["aRng"] == whole_range and entry["dtIds"]:
            places = np.array(entry["dtIds"]) - 1
            ignored[places] = entry["dtIgnore"].T
            right[places] = (entry["dtMatches"] > 0).T & ~ignored[places]
    return right, ignored


def matches_of(image):
    order = image["scores"].argsort(descending=True, stable=True)
    columns = (image["found"], image["scores"][:, None], image["labels"][:, None])
    found = torch.cat(columns, dim=1)[order]
    right, ignored = (np.zeros((len(order), len(THRESHOLDS)), dtype=bool) for _ in range(2))
    right[order], ignored[order] = match(found, image["boxes"], image["classes"], image["crowd"])
    return right, ignored


@pytest.mark.parametrize("seed", range(5))
def test_matches_are_those_of_pycocotools(seed):
    images = random_images(seed)
    right, ignored = (np.concatenate(parts) for parts in zip(*map(matches_of, images), strict=True))
    expected_right, expected_ignored = matches_of_coco(images)
    assert np.array_equal(right, expected_right)
    assert np.array_equal(ignored, expected_ignored)
    assert right[:, 0].sum() > right[:, -1].sum() > 2
    assert ignored.any()


def test_of_two_objects_that_are_overlapped_alike_the_last_is_taken():
    """As pycocotools, whose choice decides whether the second detection finds an object."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [4, 0, 14, 10]])
    found = torch.tensor([[2.0, 0, 12, 10, 0.9, 1], [0, 0, 10, 10, 0.8, 1]])
    right, _ = match(found, boxes, torch.ones(2), torch.zeros(2, dtype=torch.bool))
    assert right[:, 0].all()
    right, _ = match(found, boxes.flip(0), torch.ones(2), torch.zeros(2, dtype=torch.bool))
    assert right[:, 0].tolist() == [True, False]


def test_an_exact_overlap_of_the_threshold_is_enough():
    box = torch.tensor([[0.0, 0, 10, 10]])
    for width, thresholds in ((5, 1), (6, 3), (10, 10)):  # IoU .5, .6, 1
        found = torch.tensor([[0, 0, width, 10, 0.9, 1]])
        right, _ = match(found, box, torch.ones(1), torch.zeros(1, dtype=torch.bool))
        assert right.sum() == thresholds


def test_boxes_without_area_match_nothing():
    point = torch.tensor([[5.0, 5, 5, 5]])
    found = torch.cat([point, torch.tensor([[0.9, 1]])], dim=1)
    for crowd in (False, True):
        right, ignored = match(found, point, torch.ones(1), torch.tensor([crowd]))
        assert not (right | ignored).any()


def test_interpolated_precision_by_hand():
    """Right, wrong, ignored, right, and one of three objects is never found: precision 1 and 2/3."""
    images = {
        "scores": np.array([[0.9, 0.7], [0.8, 0.6]]),
        "classes": np.ones((2, 2), dtype=int),
        "right": np.array([[1, 0], [0, 1]]),
        "ignored": np.array([[0, 1], [0, 0]]),
        "objects": np.array([[1, 1], [1, -1]]),
    }
    weights = np.array([[1, 0, 2], [1, 0, 0]])  # each image once, none, the first twice
    got = average_precisions(images, weights)[0, 0]
    # recalls .00 to .33 are read at precision 1, .34 to .66 at 2/3; then .00 to .50 at precision 1
    assert got[[0, 2]].tolist() == pytest.approx([(34 + 33 * 2 / 3) / 101, 51 / 101])
    assert np.isnan(got[1])


def test_recalls_are_counted_as_they_round():
    """Of 1 of 100 objects, 2 of 100, ... some are above the recall that they stand for, some below."""
    recall = np.concatenate([np.arange(objects + 1) / objects for objects in range(1, 500)])
    assert np.array_equal(recalls_up_to(recall), np.searchsorted(RECALLS, recall, side="right"))
