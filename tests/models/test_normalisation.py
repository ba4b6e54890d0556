import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torchvision

from dds.errors import InputError
from dds.models import torchvision_network
from dds.models.normalisation import own_normalisation, why_not_normalised
from dds.models.weights import load_self_describing, save_self_describing
from dds.tasks import Classification, DepthEstimation, ImageRetrieval, ObjectDetection, SemanticSegmentation

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_timm_tells_by_its_configuration():
    assert own_normalisation(timm.create_model("resnet10t")) == IMAGENET


def test_networks_that_say_nothing_are_not_normalised():
    assert own_normalisation(torch.nn.Conv2d(3, 3, 1)) == (0, 1)
    assert own_normalisation(smp.Unet("resnet18", encoder_weights=None)) == (0, 1)


def test_segmentation_models_follow_the_weights_of_their_encoder(monkeypatch):
    asked = []

    def parameters(*names):
        asked.append(names)
        return {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "input_range": [0, 1]}

    monkeypatch.setattr("segmentation_models_pytorch.encoders.get_preprocessing_params", parameters)
    network = smp.Unet("resnet18", encoder_weights=None)
    network.config["encoder_weights"] = "imagenet"
    assert own_normalisation(network) == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
    assert asked == [("resnet18", "imagenet")]


def test_a_trained_network_keeps_what_it_was_trained_with(tmp_path):
    spec = {"class_path": "timm.create_model", "init_args": {"model_name": "resnet10t"}}
    spec |= {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    save_self_describing(timm.create_model("resnet10t"), spec, tmp_path / "model.safetensors")
    loaded = load_self_describing(tmp_path / "model.safetensors")
    assert own_normalisation(loaded) == ([0.5, 0.5, 0.5], [0.25, 0.25, 0.25])


def test_weights_of_torchvision_bring_theirs(monkeypatch):
    state = torchvision.models.get_model("mobilenet_v3_small").state_dict()
    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", lambda *given, **options: state)
    network = torchvision_network("mobilenet_v3_small", "IMAGENET1K_V1")
    assert own_normalisation(network) == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    for unknown in (("resnt18", "DEFAULT"), ("resnet18", "IMAGENET1K_V9")):
        with pytest.raises(InputError, match=f"no network {unknown[0]} with weights {unknown[1]}"):
            torchvision_network(*unknown)


def trained(network):
    for weight in network.parameters():
        torch.nn.init.normal_(weight)
    return network


def test_a_trained_network_that_says_nothing_is_doubtful_where_nothing_is_set():
    silent = trained(torchvision.models.get_model("mobilenet_v3_small"))
    (said,) = Classification(silent).doubts
    assert said.startswith("WARNING: nothing says how MobileNetV3 wants its input normalised")
    assert "task.mean and task.std" in said
    assert "[0.485, 0.456, 0.406]" in said
    assert Classification(silent, mean=[0.5], std=[0.5]).doubts == []
    assert Classification(timm.create_model("resnet10t")).doubts == []
    assert why_not_normalised(torchvision.models.get_model("mobilenet_v3_small")) is None
    assert ObjectDetection(silent).doubts == []


@pytest.mark.parametrize(
    ("task", "name"),
    [
        (Classification, "classification"),
        (SemanticSegmentation, "segmentation"),
        (DepthEstimation, "depth"),
        (ImageRetrieval, "retrieval"),
        (ObjectDetection, "detection"),
    ],
)
def test_nothing_is_doubtful_of_the_networks_of_the_zoo(task, name):
    assert task(f"zoo:scenes-{name}").doubts == []
