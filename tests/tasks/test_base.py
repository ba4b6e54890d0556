"""What every task does, shown on classification."""

import re

import pytest
import timm
import torch
import torchvision
from conftest import TinyClassifier
from torch import nn

from dds.batch import View
from dds.errors import InputError
from dds.tasks import Classification, DepthEstimation, SemanticSegmentation


def records_of(task, image, *shown):
    views = [
        View(("clean/-/t0",), image, [image]),
        *(View((f"view{i}",), s, [s]) for i, s in enumerate(shown)),
    ]
    batch = {
        "image": image,
        "index": torch.arange(len(image)),
        "label": torch.zeros(len(image), dtype=torch.long),
        "views": iter(views),
    }
    with torch.no_grad():
        return task.eval().test_step(batch, 0)["records"]


def test_cosine_compares_the_pooled_features_of_seen_and_original_image():
    network = timm.create_model("resnet10t", num_classes=4).eval()
    image, seen = torch.rand(2, 2, 3, 64, 64)
    clean, other = records_of(Classification(network, [0, 0, 0], [1, 1, 1]), image, seen)
    with torch.no_grad():
        features = [network.forward_head(network.forward_features(x), pre_logits=True) for x in (image, seen)]
    expected = nn.functional.cosine_similarity(*features)
    assert clean.statistics["feature_cosine"] == pytest.approx([1, 1])
    assert other.statistics["feature_cosine"].tolist() == pytest.approx(expected.tolist(), abs=1e-6)


def test_without_known_features_no_cosine_is_reported_unless_a_layer_is_named(images):
    (record,) = records_of(Classification(TinyClassifier()), images)
    assert "feature_cosine" not in record.statistics
    (record,) = records_of(Classification(TinyClassifier(), features="body.2"), images)
    assert record.statistics["feature_cosine"].tolist() == pytest.approx([1] * 4)
    with pytest.raises(InputError, match="no layer 'body.9'"):
        Classification(TinyClassifier(), features="body.9")


def test_pictures_are_kept_of_the_first_draw_and_batch_alone(images):
    """Those of all views of a batch would fill the memory."""
    task = Classification(TinyClassifier()).eval()
    batch = {"image": images, "index": torch.arange(4), "label": torch.zeros(4, dtype=torch.long)}
    kept = []
    for number in range(2):
        views = [View(("a",), images, [images] * 3), View(("b",), images, [images], first_draw=2)]
        with torch.no_grad():
            records = task.test_step(batch | {"views": iter(views)}, number)["records"]
        kept.append([sorted(record.examples) for record in records])
    assert kept == [[["attacked", "decision", "shown"], [], [], [], []], [[]] * 5]


def test_only_the_named_part_is_trained():
    network = timm.create_model("resnet10t", num_classes=4)
    task = Classification(network, train_only="fc", lr=0.1).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in task.parameters() if p.requires_grad], lr=0.1)
    batch = {"image": torch.rand(2, 3, 64, 64), "label": torch.tensor([0, 1])}
    task.image_loss(batch["image"], batch).sum().backward()
    optimizer.step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"fc.weight", "fc.bias"}
    assert network.fc.training
    assert not network.bn1.training
    assert not task.eval().model.fc.training
    with pytest.raises(InputError, match="no layer 'head'"):
        Classification(network, train_only="head")


class Answering(nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, image):
        return self.answer(image)


def test_an_answer_without_its_batch_is_named(images):
    for answer, shape in ((lambda image: image.mean((2, 3))[:1], "(1, 3)"), (torch.mean, "()")):
        with pytest.raises(InputError, match=re.escape(f"returns {shape} for 4 images; expected [4, ...]")):
            Classification(Answering(answer))(images)


def test_segmentation_networks_of_torchvision_answer_by_their_entry_out():
    network = torchvision.models.segmentation.lraspp_mobilenet_v3_large(num_classes=5, weights_backbone=None)
    image = torch.rand(2, 3, 32, 32)
    found = SemanticSegmentation(network.eval(), mean=[0], std=[1])(image)
    assert torch.equal(found, network(image)["out"])


def test_depth_without_a_channel_is_depth(images):
    network = Answering(lambda image: {"predicted_depth": image[:, 0]})
    assert torch.equal(DepthEstimation(network)(images), images[:, 0])
