"""What every task does, shown on classification."""

import pytest
import timm
import torch
from conftest import TinyClassifier
from torch import nn

from dds.batch import View
from dds.errors import InputError
from dds.tasks import Classification


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
    assert kept == [[["attacked", "decision", "original", "shown"], [], [], [], []], [[]] * 5]


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
