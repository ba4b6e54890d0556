import pytest
import timm
import torch

from dds.errors import InputError
from dds.models import LinearHead
from dds.models.weights import load_self_describing, save_self_describing


def test_one_linear_layer_on_a_feature_map():
    network = LinearHead(timm.create_model("resnet10t"), "layer2", 7).eval()
    image = torch.rand(2, 3, 64, 48)
    features = timm.create_model("resnet10t", features_only=True).eval()
    features.load_state_dict(network.backbone.state_dict(), strict=False)
    expected = torch.einsum("bfhw,of->bohw", features(image)[2], network.head.weight[:, :, 0, 0])
    torch.testing.assert_close(network(image), expected + network.head.bias[:, None, None])
    assert len(network.pretrained_cfg["mean"]) == 3


def test_building_leaves_the_network_as_it_was():
    backbone = timm.create_model("resnet10t")
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    LinearHead(backbone, "layer2", 7)
    assert backbone.training
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


def test_tokens_are_no_feature_map():
    with pytest.raises(InputError, match="expected a feature map"):
        LinearHead(timm.create_model("vit_tiny_patch16_224", dynamic_img_size=True), "norm", 7)


def test_its_file_describes_the_networks_inside(tmp_path):
    inner = {"class_path": "timm.create_model", "init_args": {"model_name": "resnet10t"}}
    arguments = {"model": inner, "layer": "layer2", "outputs": 1}
    network = LinearHead(timm.create_model("resnet10t"), "layer2", 1)
    spec = {"class_path": "dds.models.LinearHead", "init_args": arguments}
    save_self_describing(network, spec, tmp_path / "model.safetensors")
    loaded = load_self_describing(tmp_path / "model.safetensors")
    assert torch.equal(loaded.head.weight, network.head.weight.half().float())
