import math

import pytest
import torch
from torch.nn import functional as F

from dds.models.detectors.yolox_loss import Prediction, detection_losses, match_points

CENTRES = torch.cartesian_prod(torch.arange(4.0, 64, 8), torch.arange(4.0, 64, 8)).flip(1)  # (64, 2)


def around(centres, side):
    """Square boxes."""
    return torch.cat([centres - side / 2, centres + side / 2], 1)


def place(x, y):
    """The point whose centre that is."""
    return int((torch.tensor([x, y]) == CENTRES).all(1).nonzero())


def test_points_that_predict_an_object_answer_for_it():
    predicted = around(CENTRES, 4.0)
    box = torch.tensor([[10.0, 10.0, 50.0, 42.0]])
    good = [place(20, 20), place(28, 20), place(28, 28)]
    predicted[good] = box  # three perfect predictions, overlaps of little boxes with it are 16 / 1280
    predicted[place(60, 60)] = box  # not inside
    objects, points = match_points(predicted, box, CENTRES)
    assert sorted(points.tolist()) == sorted(good)
    assert objects.tolist() == [0, 0, 0]


def test_object_that_nothing_predicts_or_no_point_lies_in():
    predicted = around(CENTRES + 1000, 4.0)
    boxes = torch.tensor([[10.0, 10.0, 50.0, 42.0], [5.0, 5.0, 7.0, 7.0], [70.0, 70.0, 80.0, 80.0]])
    objects, points = match_points(predicted, boxes, CENTRES)
    assert objects.tolist() == [0, 1, 2]
    assert ((CENTRES[points[0]] - torch.tensor([30.0, 26.0])).abs() < torch.tensor([20.0, 16.0])).all()
    assert points[1:].tolist() == [place(4, 4), place(60, 60)]  # the nearest


def random_prediction(seed=0):
    generator = torch.Generator().manual_seed(seed)
    size = torch.rand(64, 1, generator=generator) * 10 + 20
    scores = torch.rand(64, 6, generator=generator) * 0.9 + 0.05
    return Prediction(around(CENTRES, size), scores[:, 0], scores[:, 1:])


BOXES = torch.tensor([[8.0, 8.0, 40.0, 30.0], [30.0, 20.0, 60.0, 60.0]])
CLASSES = F.one_hot(torch.tensor([1, 4]), 5).float()


def test_losses_by_loops():
    found = random_prediction()
    losses = detection_losses(found, BOXES, CLASSES, CENTRES)
    pairs = list(zip(*(index.tolist() for index in match_points(found.boxes, BOXES, CENTRES)), strict=True))
    assert len(pairs) > 2
    objectness = classes = regression = 0.0
    for point in range(64):
        p = found.objectness[point].item()
        objectness -= math.log(p if point in {there for _, there in pairs} else 1 - p)
    for which, point in pairs:
        for p, truth in zip(found.classes[point].tolist(), CLASSES[which].tolist(), strict=True):
            classes -= math.log(p if truth else 1 - p)
        regression += 1 - iou(found.boxes[point].tolist(), BOXES[which].tolist())
    for name, total in zip(losses, (objectness, classes, regression), strict=True):
        assert losses[name].item() == pytest.approx(total / len(pairs), rel=1e-5)


def iou(a, b):
    width, height = (min(a[i + 2], b[i + 2]) - max(a[i], b[i]) for i in (0, 1))
    common = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return common / (sum(areas) - common)


def test_the_truth_has_no_loss():
    found = random_prediction()
    _, points = match_points(found.boxes, BOXES[:1], CENTRES)
    boxes, objectness, classes = found.boxes.clone(), torch.zeros(64), found.classes.clone()
    boxes[points], objectness[points], classes[points] = BOXES[0], 1.0, CLASSES[0]
    _, again = match_points(boxes, BOXES[:1], CENTRES)
    objectness[again], classes[again] = 1.0, CLASSES[0]
    losses = detection_losses(Prediction(boxes, objectness, classes), BOXES[:1], CLASSES[:1], CENTRES)
    assert losses["loss_objectness"] == losses["loss_classifier"] == 0
    assert losses["loss_box_reg"] < 0.5


def test_image_without_objects():
    found = random_prediction()
    found.objectness.requires_grad_()
    losses = detection_losses(found, torch.zeros(0, 4), torch.zeros(0, 5), CENTRES)
    assert losses["loss_objectness"].item() == pytest.approx(-(1 - found.objectness).log().sum().item())
    assert losses["loss_classifier"] == losses["loss_box_reg"] == 0
    sum(losses.values()).backward()
    assert (found.objectness.grad > 0).all()
