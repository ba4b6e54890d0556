import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torchvision

from dds.models.features import find_pooled_layer, outputs_of, pool

NETWORKS = {
    "timm's convolutional": (lambda: timm.create_model("resnet10t"), 512),
    "timm's transformer": (lambda: timm.create_model("vit_tiny_patch16_224", img_size=64), 192),
    "timm's ConvNeXt": (lambda: timm.create_model("convnext_atto"), 320),
    "torchvision's": (lambda: torchvision.models.resnet18(), 512),
    "segmentation-models-pytorch's": (lambda: smp.Unet("resnet18", encoder_weights=None), 512),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_pooled_features_are_found(kind):
    build, width = NETWORKS[kind]
    network = build().eval()
    with torch.no_grad(), outputs_of(find_pooled_layer(network)) as caught:
        network(torch.rand(2, 3, 64, 64))
    pooled = pool(caught[-1])
    assert pooled.flatten(1).shape == (2, width)
    assert pooled.ndim == 2
    with torch.no_grad():
        network(torch.rand(2, 3, 64, 64))
    assert len(caught) == 1  # the hook is gone


def test_transformers_give_their_class_token():
    network = timm.create_model("vit_tiny_patch16_224", img_size=64).eval()
    image = torch.rand(2, 3, 64, 64)
    with torch.no_grad(), outputs_of(find_pooled_layer(network)) as caught:
        network(image)
        assert torch.allclose(pool(caught[-1]), network.forward_features(image)[:, 0])


def test_pooling():
    tokens, maps = torch.rand(2, 5, 7), torch.rand(2, 7, 3, 3)
    assert torch.equal(pool(tokens), tokens[:, 0])
    assert torch.equal(pool([tokens, maps]), maps.mean((2, 3)))
    assert torch.equal(pool({"0": tokens, "1": maps}), maps.mean((2, 3)))
    assert torch.equal(pool(tokens[:, 0]), tokens[:, 0])
