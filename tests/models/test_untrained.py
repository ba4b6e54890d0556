import pytest
import segmentation_models_pytorch as smp
import timm
import torchvision
from conftest import TinyClassifier

from dds.models.untrained import is_untrained
from dds.models.zoo import resolve

BORN = {
    "timm's convolutional": lambda: timm.create_model("resnet10t"),  # whose blocks end with a norm of zeros
    "timm's transformer": lambda: timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1),
    "torchvision's": lambda: torchvision.models.mobilenet_v3_small(),
    "segmentation-models-pytorch's": lambda: smp.Unet("resnet18", encoder_weights=None),
}


@pytest.mark.parametrize("kind", BORN)
def test_networks_whose_weights_were_never_loaded_are_told_by_their_norms(kind):
    network = BORN[kind]()
    assert is_untrained(network)
    next(value for name, value in network.named_parameters() if name.endswith("bias")).data += 0.1
    for norm in network.modules():
        if hasattr(norm, "normalized_shape") or hasattr(norm, "running_mean"):
            norm.weight.data += 0.01
    assert not is_untrained(network)


@pytest.mark.parametrize(
    "name", ["classification", "segmentation", "depth", "retrieval", "detection", "ddpm"]
)
def test_the_bundled_networks_are_trained(name):
    assert not is_untrained(resolve(f"zoo:scenes-{name}"))


def test_of_networks_without_norms_nothing_is_known():
    assert not is_untrained(TinyClassifier())
