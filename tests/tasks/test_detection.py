import numpy as np
import pytest
import torch
from conftest import metrics_of, resampled_metrics
from metrics.test_detection import coco_evaluation, random_image, random_images
from models.test_detector_losses import own_loss
from torch import nn

from dds.errors import InputError
from dds.models import small_fcos
from dds.tasks import ObjectDetection

NAMES = ["AP", "AP50", "AP75"]


class Recorded(nn.Module):
    """Finds what was prepared for an image; which one it is, its first pixel says."""

    def __init__(self, images):
        super().__init__()
        self.found = [{"boxes": i["found"], "labels": i["labels"], "scores": i["scores"]} for i in images]

    def forward(self, images):
        return [self.found[int(image[0, 0, 0])] for image in images]


def detect(images, sizes):
    """Return decisions and batches of these sizes, one after the other."""
    task = ObjectDetection(Recorded(images))
    numbers = torch.arange(len(images)).split(sizes)
    batches = [batch_of([images[n] for n in part], 12) for part in numbers]
    decisions = [task(part.float()[:, None, None, None].expand(-1, 3, 2, 2)) for part in numbers]
    return task, list(zip(decisions, batches, strict=True))


def batch_of(images, places):
    fill = {"boxes": 0.0, "classes": -1, "crowd": False}
    batch = {}
    for key, value in fill.items():
        padded = [image[key].new_full((places, *image[key].shape[1:]), value) for image in images]
        for row, image in zip(padded, images, strict=True):
            row[: len(image[key])] = image[key]
        batch[key] = torch.stack(padded)
    return batch


def statistics_of(images, sizes=1):
    task, pairs = detect(images, sizes)
    parts = [task.statistics(*pair) for pair in pairs]
    return {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}


@pytest.mark.parametrize("seed", range(5))
def test_metrics_equal_pycocotools(seed):
    images = random_images(seed)
    expected = coco_evaluation(images).stats[:3]
    assert 0.01 < expected[0] < 0.9
    for sizes in ([12], [5, 1, 6], [1] * 12):
        metrics = metrics_of(*detect(images, sizes))
        assert [metrics[name] for name in NAMES] == pytest.approx(expected.tolist(), abs=1e-12)


def test_resampled_metrics_equal_pycocotools_on_repeated_images():
    random = np.random.default_rng(0)
    images = random_images(seed=9)
    for image in images:  # equal across images, but different within an image, whose copies would interleave
        count = len(image["scores"])
        image["scores"] = torch.tensor((random.permutation(40)[:count] + 1) / 41, dtype=torch.float32)
    weights = random.multinomial(12, np.full(12, 1 / 12), size=4)
    metrics = resampled_metrics(ObjectDetection, statistics_of(images), weights)
    for row, weight in enumerate(weights):
        repeated = [image for image, times in zip(images, weight, strict=True) for _ in range(times)]
        expected = coco_evaluation(repeated).stats[:3]
        assert [metrics[name][row] for name in NAMES] == pytest.approx(expected.tolist(), abs=1e-12)


def test_the_best_hundred_detections_of_an_image_count():
    random = np.random.default_rng(0)
    images = [random_image(random, 8, count) for count in (130, 0, 170)]
    for image in images:
        for key in ("classes", "labels"):  # pycocotools counts for each class, detectors for all together
            image[key][:] = 1
    expected = coco_evaluation(images).stats[:3]
    metrics = metrics_of(*detect(images, [3]))
    assert [metrics[name] for name in NAMES] == pytest.approx(expected.tolist(), abs=1e-12)


def test_data_sets_without_objects_have_no_average_precision():
    empty, full = random_image(np.random.default_rng(0), 0, 5), random_image(np.random.default_rng(1), 3, 5)
    full["crowd"][:] = False
    assert all(np.isnan(value) for value in metrics_of(*detect([empty, empty], [2])).values())
    metrics = resampled_metrics(ObjectDetection, statistics_of([empty, full]), np.array([[2, 0], [1, 1]]))
    assert np.isnan(metrics["AP"]).tolist() == [True, False]


def test_f1_is_of_the_sure_detections():
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10], [0, 20, 10, 30], [20, 20, 40, 40]])
    image = {
        "boxes": boxes,
        "classes": torch.tensor([1, 1, 2, 1]),
        "crowd": torch.tensor([False, False, False, True]),
        # right, of another class, right but not sure, in the crowd, in the crowd
        "found": boxes[[0, 2, 1, 3, 3]],
        "labels": torch.tensor([1, 1, 1, 1, 1]),
        "scores": torch.tensor([0.9, 0.8, 0.4, 0.7, 0.6]),
    }
    nothing = {key: value[:0] for key, value in image.items()}
    missed = {**image, **{key: nothing[key] for key in ("found", "labels", "scores")}}
    f1 = statistics_of([image, nothing, missed])["f1"]
    assert f1.tolist() == pytest.approx([2 * 1 / (2 + 3), 1, 0])
    assert {statistics_of([one])["f1"].dtype for one in (image, nothing)} == {f1.dtype}


@pytest.fixture
def batch():
    """Return two images; the first shows an object, a box without area and a crowd."""
    boxes = torch.tensor([[[4.0, 4, 30, 40], [9, 9, 9, 20], [8, 8, 50, 62]], [[0, 0, 0, 0]] * 3])
    return {
        "image": torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)),
        "boxes": boxes,
        "classes": torch.tensor([[2, 1, 3], [-1, -1, -1]]),
        "crowd": torch.tensor([[False, False, True], [False] * 3]),
        "index": torch.tensor([3, 8]),
    }


@pytest.mark.filterwarnings("ignore:You are trying to `self.log")
def test_crowds_and_boxes_without_area_are_nothing_to_learn(batch):
    torch.manual_seed(0)
    task = ObjectDetection(small_fcos(3, widths=[8, 8, 8, 8], channels=32)).eval()
    targets = [{"boxes": batch["boxes"][0, :n], "labels": batch["classes"][0, :n]} for n in (1, 0)]
    pairs = zip(batch["image"], targets, strict=True)
    expected = [own_loss(task.model, *pair, seed=0) for pair in pairs]
    assert task.image_loss(batch["image"], batch).tolist() == pytest.approx(expected, rel=1e-5)
    assert task.training_step(batch, 0) > 0


@pytest.mark.filterwarnings("ignore:You are trying to `self.log")
def test_a_part_can_be_trained_alone(batch):
    network = small_fcos(3, widths=[8, 8, 8, 8], channels=32)
    task = ObjectDetection(network, train_only="head").train()
    task.training_step(batch, 0).backward()
    assert all(
        (value.grad is not None) == name.startswith("head.") for name, value in network.named_parameters()
    )


def test_features_are_those_of_the_pyramid(batch):
    task = ObjectDetection(small_fcos(3, widths=[8, 8, 8, 8], channels=32)).eval()
    output, features = task.look(batch["image"])
    assert output.shape == (2, 100, 6)
    assert features.shape == (2, 32)
    assert all(name.startswith("model.") for name in task.state_dict())  # the layer is not kept twice


def test_draws_are_fused_image_by_image():
    draws = torch.zeros(3, 2, 100, 6)
    draws[:, 0, 0] = torch.tensor([0, 0, 10, 10, 0.9, 1])
    draws[0, 1, 0] = torch.tensor([5, 5, 10, 10, 0.6, 2])
    fused = ObjectDetection(Recorded([])).combine(draws)
    assert fused.shape == (2, 100, 6)
    assert fused[:, 0, 4:].tolist() == [pytest.approx([0.9, 1]), pytest.approx([0.2, 2])]


def test_figures_show_the_sure_boxes():
    image = torch.zeros(1, 3, 32, 32)
    found = torch.zeros(1, 100, 6)
    found[0, :2] = torch.tensor([[4.0, 4, 20, 20, 0.9, 1], [22, 22, 30, 30, 0.3, 1]])
    (drawn,) = ObjectDetection(Recorded([])).render(found, {"image": image})
    assert drawn.shape == (32, 32, 3)
    assert drawn[4, 4:20, 0].all()
    assert not drawn[21:, 21:].any()


@pytest.mark.parametrize(
    ("box", "label", "words"),
    [
        ([0.0, 0, 70, 64], 1, "leave images of 64x64"),
        ([30.0, 0, 20, 64], 1, "turned inside out"),
        ([0.0, 0, float("nan"), 64], 1, "leave images"),
        ([0.0, 0, 20, 64], 0, "count classes from 1"),
    ],
)
def test_bad_boxes(batch, box, label, words):
    task = ObjectDetection(Recorded([]))
    task.check_targets(torch.zeros(2, 100, 6), batch)
    batch["boxes"][0, 0], batch["classes"][0, 0] = torch.tensor(box), label
    with pytest.raises(InputError, match=words):
        task.check_targets(torch.zeros(2, 100, 6), batch)
