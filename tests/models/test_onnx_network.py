import numpy as np
import pytest
import torch
from conftest import TinyClassifier
from torch import nn

from dds.errors import InputError
from dds.models import MergedClasses, onnx

pytestmark = pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")  # onnx2torch's


def write(path, operation, opset=16, **constants):
    """Write a graph of one operation on an image."""
    library = pytest.importorskip("onnx")
    make, kind = library.helper, library.TensorProto.FLOAT
    tensors = [library.numpy_helper.from_array(value, name) for name, value in constants.items()]
    node = make.make_node(operation, ["image", *constants], ["output"])
    ends = [make.make_tensor_value_info(name, kind, None) for name in ("image", "output")]
    graph = make.make_graph([node], "graph", ends[:1], ends[1:], tensors)
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", opset)], ir_version=8)
    library.save(model, path)
    return str(path)


@pytest.fixture
def kernel():
    return np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)


def test_a_file_is_a_differentiable_network(tmp_path, kernel):
    network = onnx(write(tmp_path / "conv.onnx", "Conv", kernel=kernel), scale=0.01)
    image = torch.rand(2, 3, 8, 8, requires_grad=True)
    expected = 0.01 * nn.functional.conv2d(image, torch.from_numpy(kernel))
    assert torch.allclose(network(image), expected, atol=1e-6)
    found, wanted = (torch.autograd.grad(one.sum(), image)[0] for one in (network(image), expected))
    assert torch.allclose(found, wanted, atol=1e-6)
    assert torch.allclose(onnx(str(tmp_path / "conv.onnx"))(image), 100 * expected, atol=1e-5)


def test_layer_norm_of_opset_17(tmp_path):
    weight, bias = np.random.default_rng(0).normal(size=(2, 8)).astype(np.float32)
    network = onnx(write(tmp_path / "norm.onnx", "LayerNormalization", 17, weight=weight, bias=bias))
    image = torch.rand(2, 3, 4, 8)
    expected = nn.functional.layer_norm(image, (8,), torch.from_numpy(weight), torch.from_numpy(bias))
    assert torch.allclose(network(image), expected, atol=1e-6)


def test_what_cannot_be_read_says_why(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"absent\.onnx does not exist\. Export it"):
        onnx(str(tmp_path / "absent.onnx"))
    (tmp_path / "garbage.onnx").write_text("garbage")
    with pytest.raises(InputError, match=r"garbage\.onnx cannot be read as ONNX"):
        onnx(str(tmp_path / "garbage.onnx"))
    monkeypatch.setitem(__import__("sys").modules, "onnx2torch", None)
    with pytest.raises(InputError, match=r"pip install 'dds\[onnx\]'"):
        onnx(str(tmp_path / "garbage.onnx"))


def test_probabilities_of_merged_classes_add_up():
    network, image = TinyClassifier(), torch.rand(2, 3, 8, 8)
    merged = MergedClasses(network, [[3], [0, 2], [1]])
    whole = network(image).softmax(1)
    expected = torch.stack([whole[:, 3], whole[:, 0] + whole[:, 2], whole[:, 1]], 1)
    assert torch.allclose(merged(image).softmax(1), expected)


@pytest.mark.parametrize(
    ("classes", "said"),
    [([], "expected for each class"), ([[0], []], "expected for each"), ([[-1]], "expected for each")],
)
def test_classes_are_made_of_something(classes, said):
    with pytest.raises(InputError, match=said):
        MergedClasses(TinyClassifier(), classes)


def test_classes_are_those_of_the_network():
    with pytest.raises(InputError, match="names the network's class 9, but it has 4"):
        MergedClasses(TinyClassifier(), [[0], [9]])(torch.rand(1, 3, 8, 8))


def test_real_networks_are_as_good_as_published(shared_data):
    """METER on two NYU pairs: AbsRel .086 (its README)."""
    pytest.importorskip("onnx2torch")
    from dds.data import DepthPairs
    from dds.tasks import DepthEstimation

    network = onnx(str(shared_data / "weights" / "meter_depth" / "meter_xxs_nyu.onnx"), scale=0.01)
    task = DepthEstimation(
        network, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225], input_size=(192, 256)
    ).eval()
    data = DepthPairs(str(shared_data / "depth" / "nyuv2_pairs"), depth_scale=5000, batch_size=2)
    (batch,) = data.test_dataloader()
    with torch.no_grad():
        found = task.statistics(task.decide(task(batch["image"])), batch)
    assert found["absrel"].mean().item() == pytest.approx(0.086, abs=0.01)
