import numpy as np
import pytest
import timm
import torch
import torchvision

from dds.errors import InputError
from dds.models import GeM
from dds.tasks import ImageRetrieval


@pytest.fixture
def network():
    torch.manual_seed(0)
    return timm.create_model("resnet10t", channels=[8, 8, 8, 8]).eval().requires_grad_(False)


@pytest.fixture
def images():
    return torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def test_pooling_by_the_formula(network, images):
    features = network.forward_features(images).double().numpy()  # (B, F, h, w)
    assert (features == 0).any()
    for p in (1.0, 2.5, 3.0):
        expected = (np.maximum(features, 1e-6) ** p).mean((2, 3)) ** (1 / p)
        assert np.allclose(GeM(network, "layer4", p)(images).numpy(), expected, atol=1e-5)


def test_the_exponent_leads_from_the_mean_to_the_maximum(network, images):
    features = network.forward_features(images)
    assert torch.allclose(GeM(network, "layer4", p=1)(images), features.mean((2, 3)), atol=1e-5)
    assert torch.allclose(GeM(network, "layer4", p=100)(images), features.amax((2, 3)), rtol=0.05, atol=0.05)


def test_gradients_reach_the_image(network, images):
    (gradient,) = torch.autograd.grad(GeM(network, "layer4")(images.requires_grad_()).sum(), images)
    assert gradient.isfinite().all()
    assert gradient.flatten(1).any(1).all()


def test_the_networks_mean_and_std_are_used(network):
    assert ImageRetrieval(GeM(network, "layer4")).mean.flatten().tolist() == pytest.approx(
        [0.485, 0.456, 0.406]
    )
    other = GeM(torchvision.models.resnet18(), "layer4")
    assert ImageRetrieval(other).mean.flatten().tolist() == [0, 0, 0]


def test_unusable_layers(network, images):
    with pytest.raises(InputError, match="no layer 'layer9'"):
        GeM(network, "layer9")
    for layer in ("fc", "global_pool"):
        with pytest.raises(InputError, match="does not return a feature map"):
            GeM(network, layer)(images)
