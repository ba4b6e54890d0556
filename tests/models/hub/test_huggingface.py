"""Models of transformers, loaded from a folder, against the library's own pipeline."""

from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
import transformers as hf
from huggingface_hub import errors
from models.hub import tiny
from PIL import Image
from safetensors.torch import load_file, save_file

from dds.errors import InputError
from dds.models import huggingface
from dds.models.hub.huggingface import huggingface as load
from dds.models.weights import load_self_describing, save_self_describing
from dds.tasks import (
    Classification,
    DepthEstimation,
    ImageRetrieval,
    ObjectDetection,
    SemanticSegmentation,
)

SIZES = [(tiny.SIDE, tiny.SIDE), (36, 44)]


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def pictures(height, width, count=2):
    """Return images of 8 bits, for the library, and the same for us, `[B, 3, H, W]` in [0, 1]."""
    values = np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    image = torch.from_numpy(values).permute(0, 3, 1, 2).float() / 255
    return [Image.fromarray(one) for one in values], image


def classify(path, images, **options):
    processor, network = tools(hf.AutoModelForImageClassification, path)
    return network(**processor(images=images, return_tensors="pt", **options)).logits


def segment(path, images, size, **options):
    processor, network = tools(hf.AutoModelForSemanticSegmentation, path)
    found = network(**processor(images=images, return_tensors="pt", **options))
    return torch.stack(processor.post_process_semantic_segmentation(found, [size] * len(images)))


def segment_by_masks(path, images, size, **options):
    processor, network = tools(hf.AutoModelForUniversalSegmentation, path)
    found = network(**processor(images=images, return_tensors="pt", **options))
    return torch.stack(processor.post_process_semantic_segmentation(found, [size] * len(images)))


def measure(path, images, size, **options):
    processor, network = tools(hf.AutoModelForDepthEstimation, path)
    found = network(**processor(images=images, return_tensors="pt", **options))
    sizes = [size] * len(images)
    zoe = {"source_sizes": sizes} if "zoe" in path else {}
    maps = processor.post_process_depth_estimation(found, target_sizes=sizes, **zoe)
    return torch.stack([one["predicted_depth"] for one in maps])


def describe(path, images, **options):
    own = {"add_pooling_layer": False} if "vit" in path else {}  # which has no weights
    processor, network = tools(hf.AutoModel, path, **own)
    inputs = processor(images=images, return_tensors="pt", **options)
    if hasattr(network, "get_image_features"):
        found = network.get_image_features(**inputs)
        features = getattr(found, "pooler_output", found)
    else:
        found = network(**inputs)
        features = found.last_hidden_state[:, 0] if found.pooler_output is None else found.pooler_output
    return torch.nn.functional.normalize(features, dim=1)


def tools(auto, path, **options):
    return hf.AutoImageProcessor.from_pretrained(path), auto.from_pretrained(path, **options).eval()


CLASSIFIERS = [tiny.vit, tiny.clip_classifier, tiny.efficientnet]
SEGMENTERS = [tiny.segformer, tiny.beit, tiny.upernet]
MASKS = [tiny.maskformer, tiny.mask2former]
DEPTHS = [tiny.dpt, tiny.depth_anything, tiny.zoedepth, tiny.glpn]
DETECTORS = [tiny.detr, tiny.yolos, tiny.rt_detr]
DESCRIBERS = [tiny.dinov2, tiny.vit_features, tiny.clip, tiny.siglip]


def close(ours, theirs, size):
    """8-bit resizing rounds to grey levels; without it nothing differs but the order of two operations."""
    return torch.allclose(ours, theirs, rtol=1e-4, atol=1e-4 * theirs.abs().max().item())


@pytest.mark.parametrize("make", CLASSIFIERS)
@torch.no_grad()
def test_classes_are_those_of_the_librarys_pipeline(tmp_path, make):
    path = tiny.save(make, tmp_path)
    task = Classification(huggingface(path)).eval()
    images, ours = pictures(*SIZES[0])
    theirs = classify(path, images, do_resize=False)
    task.model.preprocessing.settings["do_resize"] = False
    assert close(task(ours), theirs, SIZES[0])
    assert torch.equal(task.decide(task(ours)), theirs.argmax(1))
    del task.model.preprocessing.settings["do_resize"]
    _, ours = pictures(*SIZES[1])
    assert torch.equal(task(ours), classify(path, list(ours), do_rescale=True, rescale_factor=factor(path)))


def factor(path):
    """Images in [0, 1] are told from those of bytes by what they are multiplied with."""
    return round(255 * hf.AutoImageProcessor.from_pretrained(path).rescale_factor, 9)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("make", SEGMENTERS + MASKS)
@torch.no_grad()
def test_masks_are_those_of_the_librarys_pipeline(tmp_path, make, size):
    path = tiny.save(make, tmp_path)
    task = SemanticSegmentation(huggingface(path)).eval()
    images, ours = pictures(*size)
    reference = segment_by_masks if make in MASKS else segment
    theirs = reference(path, list(ours), size, do_rescale=False)
    assert torch.equal(task.decide(task(ours)), theirs)
    if size == SIZES[0]:
        assert torch.equal(theirs, reference(path, images, size))  # from 8 bits, too


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("make", DEPTHS)
@torch.no_grad()
def test_depth_is_that_of_the_librarys_pipeline(tmp_path, make, size):
    path = tiny.save(make, tmp_path)
    task = DepthEstimation(huggingface(path, depth="metric")).eval()
    images, ours = pictures(*size)
    assert torch.equal(task(ours), measure(path, list(ours), size, do_rescale=False))
    if size == SIZES[0]:
        assert close(task(ours), measure(path, images, size), size)


@pytest.mark.parametrize("make", DESCRIBERS)
@torch.no_grad()
def test_descriptors_are_those_of_the_librarys_pipeline(tmp_path, make):
    path = tiny.save(make, tmp_path)
    task = ImageRetrieval(huggingface(path)).eval()
    _, ours = pictures(*SIZES[1])
    assert torch.equal(task(ours), describe(path, list(ours), do_rescale=False))
    images, ours = pictures(*SIZES[0])
    task.model.preprocessing.settings |= {"do_resize": False, "do_center_crop": False}
    assert close(task(ours), describe(path, images, do_resize=False, do_center_crop=False), SIZES[0])


@pytest.mark.parametrize("make", DETECTORS)
@torch.no_grad()
def test_boxes_are_those_of_the_librarys_pipeline(tmp_path, make):
    path = tiny.save(make, tmp_path)
    network = huggingface(path).eval()
    processor, reference = tools(hf.AutoModelForObjectDetection, path)
    for size in SIZES:
        _, ours = pictures(*size)
        found = reference(**processor(images=list(ours), return_tensors="pt", do_rescale=False))
        theirs = processor.post_process_object_detection(found, threshold=0.0, target_sizes=[size] * 2)
        for mine, other in zip(network(list(ours)), theirs, strict=True):
            assert torch.equal(mine["boxes"], other["boxes"])
            assert torch.equal(mine["scores"], other["scores"])
            assert torch.equal(mine["labels"], network.categories[other["labels"]])


def targets(count=1):
    boxes = torch.tensor([[2.0, 3.0, 20.0, 18.0], [5.0, 5.0, 30.0, 20.0]])
    return [
        {"boxes": boxes[:number], "labels": torch.tensor([1, 3])[:number]} for number in range(1, count + 1)
    ]


@pytest.mark.parametrize("make", DETECTORS)
@torch.no_grad()
def test_the_loss_of_an_image_leaves_the_number_of_boxes_out(tmp_path, make):
    path = tiny.save(make, tmp_path)
    network = huggingface(path).eval()
    processor, reference = tools(hf.AutoModelForObjectDetection, path)
    _, ours = pictures(*SIZES[1])
    losses = network.image_losses(ours, targets(2))
    for image, target, loss in zip(ours, targets(2), losses, strict=True):
        x1, y1, x2, y2 = (target["boxes"] / torch.tensor([44.0, 36.0, 44.0, 36.0])).unbind(1)
        boxes = torch.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], 1)
        classes = torch.tensor([network.categories.tolist().index(label) for label in target["labels"]])
        inputs = processor(images=[image], return_tensors="pt", do_rescale=False)
        told = reference(**inputs, labels=[{"class_labels": classes, "boxes": boxes}]).loss_dict
        config = reference.config
        weights = {}  # RT-DETR's losses are weighted already
        if make is not tiny.rt_detr:
            weights = {"loss_bbox": 5.0, "loss_giou": 2.0}
            assert (config.bbox_loss_coefficient, config.giou_loss_coefficient) == (5, 2)
            assert "cardinality_error" in told
        counted = {name: value for name, value in told.items() if "cardinality" not in name}
        total = sum(value * weights.get(name, 1.0) for name, value in counted.items())
        assert loss.item() == pytest.approx(total.item(), rel=1e-5)


def test_labels_of_a_detector_are_those_of_its_data(tmp_path):
    detr, own = (huggingface(tiny.save(make, tmp_path)) for make in (tiny.detr, tiny.yolos))
    assert detr.categories.tolist() == list(range(91))
    assert own.categories.tolist() == [1, 2, 3]
    coco = huggingface(tiny.save(tiny.rt_detr, tmp_path))
    assert coco.categories.tolist()[:13] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14]
    given = huggingface(str(tmp_path / "yolos"), labels=[7, 5, 9])
    assert given.categories.tolist() == [7, 5, 9]
    with pytest.raises(InputError, match=r"labels \[1\] are none of the network's 3 classes \(7, 5, 9\)"):
        given.image_losses(torch.rand(1, 3, 32, 32), targets())
    with pytest.raises(InputError, match="labels has 2 entries; expected 3"):
        huggingface(str(tmp_path / "yolos"), labels=[1, 2])


TASKS = {
    Classification: (CLASSIFIERS, {"label": torch.tensor([1, 2])}),
    SemanticSegmentation: (SEGMENTERS + MASKS, {"mask": torch.arange(36 * 44).reshape(1, *SIZES[1]) % 5}),
    DepthEstimation: (DEPTHS, {"depth": 1 + torch.arange(36 * 44).reshape(1, *SIZES[1]) / 200.0}),
    ImageRetrieval: (DESCRIBERS, {"features": torch.eye(2, 16)}),
    ObjectDetection: (
        DETECTORS,
        {
            "boxes": torch.tensor([[[2.0, 3, 20, 18]]]),
            "classes": torch.tensor([[1]]),
            "index": torch.arange(2),
        },
    ),
}
APART = (tiny.efficientnet, tiny.rt_detr)  # whose gradient vanishes at random weights; and the next test
THROUGH = [(task, make) for task, (makes, _) in TASKS.items() for make in makes if make not in APART]


def slopes(tmp_path, kind, make, directions):
    """Return the loss's slopes along random directions, by its gradient and by differences, in float64."""
    options = {"depth": "metric"} if kind is DepthEstimation else {}
    network = huggingface(tiny.save(make, tmp_path), **options)
    task = (kind(network, attack="clean") if kind is ImageRetrieval else kind(network)).eval().double()
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, *SIZES[1], generator=generator, dtype=torch.float64).requires_grad_()
    batch = {name: value.expand(2, *value.shape[1:]) for name, value in TASKS[kind][1].items()}
    if kind is ImageRetrieval:
        batch["features"] = batch["features"][:, : 12 if make is tiny.clip else 16].double()
    loss = task.image_loss(image, batch)
    assert loss.shape == (2,)
    (gradient,) = torch.autograd.grad(loss.sum(), image)
    found, expected = [], []
    for _ in range(directions):
        step = 1e-6 * torch.rand(image.shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            ends = [task.image_loss(image + sign * step, batch).sum() for sign in (1, -1)]
        expected.append((ends[0] - ends[1]).item() / 2e-6)
        found.append((gradient * step).sum().item() / 1e-6)
    return np.array(found), np.array(expected)


@pytest.mark.parametrize(("kind", "make"), THROUGH)
def test_gradients_equal_finite_differences(tmp_path, kind, make):
    (found,), (expected,) = slopes(tmp_path, kind, make, 1)
    assert abs(found) > 1e-6
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-8)


def test_the_gradient_of_rt_detr_is_not_the_one_it_is_trained_with(tmp_path):
    """That one is cut off at the boxes of each layer, and points elsewhere."""
    found, expected = slopes(tmp_path, ObjectDetection, tiny.rt_detr, 8)
    assert np.corrcoef(found, expected)[0, 1] > 0.9


def test_any_model_describes_images_where_features_are_asked_for(tmp_path):
    path = tiny.save(tiny.vit, tmp_path)
    task = ImageRetrieval(huggingface(path, task="features")).eval()
    _, ours = pictures(*SIZES[1])
    tokens = hf.ViTModel.from_pretrained(path, add_pooling_layer=False).eval()
    inputs = hf.AutoImageProcessor.from_pretrained(path)(
        images=list(ours), do_rescale=False, return_tensors="pt"
    )
    expected = torch.nn.functional.normalize(tokens(**inputs).last_hidden_state[:, 0], dim=1)
    assert torch.equal(task(ours), expected)


def test_settings_of_the_image_processor_are_changed(tmp_path):
    path = tiny.save(tiny.vit, tmp_path)
    _, ours = pictures(*SIZES[1])
    own = {"size": tiny.SQUARE, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7]}
    found = huggingface(path, processor=own).eval()(ours)
    assert torch.equal(found, classify(path, list(ours), do_rescale=False, **own))


def test_a_second_normalisation_is_refused(tmp_path):
    network = huggingface(tiny.save(tiny.vit, tmp_path))
    with pytest.raises(InputError, match=r"task.mean and task.std would normalise a second time: HubNetwork"):
        Classification(network, mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5])
    Classification(network, mean=[0.0], std=[1.0])


def test_without_an_image_processor_its_settings_have_to_be_said(tmp_path):
    path = tiny.save(tiny.vit, tmp_path)
    (tmp_path / "vit" / "preprocessor_config.json").unlink()
    with pytest.raises(InputError, match=r"has no image processor.*processor: \{do_resize: false"):
        huggingface(path)
    said = {"do_resize": False, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    network = huggingface(path, processor=said).eval()
    _, ours = pictures(*SIZES[0])
    assert torch.equal(network(ours), network.network((ours - 0.5) / 0.5).logits)


def test_relative_depth_is_no_metres(tmp_path):
    path = tiny.save(tiny.dpt, tmp_path)
    with pytest.raises(InputError, match="relative depth, without a unit"):
        DepthEstimation(huggingface(path))
    DepthEstimation(huggingface(tiny.save(tiny.depth_anything, tmp_path)))
    with pytest.raises(InputError, match="relative depth, without a unit"):
        DepthEstimation(huggingface(str(tmp_path / "depth_anything"), depth="relative"))


def test_weights_that_are_missing_are_named(tmp_path):
    path = tiny.save(tiny.vit, tmp_path)
    file = tmp_path / "vit" / "model.safetensors"
    state = load_file(file)
    save_file(
        {name: value for name, value in state.items() if "classifier" not in name}, file, {"format": "pt"}
    )
    with pytest.raises(InputError, match=r"no weights for classifier.bias, classifier.weight of ViTFor"):
        huggingface(path)
    assert huggingface(path, task="features").network.pooler is None


def test_pickles_are_not_read(tmp_path):
    path = tiny.save(tiny.vit, tmp_path)
    file = tmp_path / "vit" / "model.safetensors"
    torch.save(load_file(file), tmp_path / "vit" / "pytorch_model.bin")
    file.unlink()
    with pytest.raises(InputError, match=r"vit cannot be loaded: .*model\.safetensors.*save it again"):
        huggingface(path)
    assert huggingface(path, pretrained=False).network.num_labels == 4


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "nobody/nothing",
            "neither a folder nor in the hub's cache, and the hub cannot be reached.*hf download",
        ),
        ("/nowhere/at/all", "is no folder, and cannot be a name on the hub"),
    ],
)
def test_what_is_not_there_is_said(name, said):
    with pytest.raises(InputError, match=said):
        load(name)


ANSWER = SimpleNamespace(headers={}, request=None)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("RepositoryNotFoundError", "is no model of the hub"),
        ("RevisionNotFoundError", "has no such revision"),
        ("GatedRepoError", "asks for its terms to be accepted"),
    ],
)
def test_what_the_hub_refuses_is_said(monkeypatch, error, said):

    def refuse(*arguments, **options):
        raise OSError("as transformers does") from getattr(errors, error)("no", response=ANSWER)

    monkeypatch.setattr(hf.AutoConfig, "from_pretrained", refuse)
    with pytest.raises(InputError, match=f"some/model {said}"):
        load("some/model")


def test_a_model_for_something_else_is_named(tmp_path):
    config = hf.ViTConfig(**tiny.VIT, architectures=["ViTForMaskedImageModeling"])
    config.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="is a ViTForMaskedImageModeling, for none of"):
        load(str(tmp_path))


def test_without_transformers_its_installation_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(InputError, match=r"read by transformers.*pip install 'dds\[hub\]'"):
        load("any/thing")


def test_a_file_of_training_rebuilds_a_model_of_the_hub(tmp_path):
    network = huggingface(tiny.save(tiny.vit, tmp_path)).eval()
    spec = {"class_path": "dds.models.huggingface", "init_args": {"name": str(tmp_path / "vit")}}
    save_self_describing(network, spec, tmp_path / "net.safetensors")
    _, ours = pictures(*SIZES[1])
    loaded = load_self_describing(tmp_path / "net.safetensors").eval()
    torch.testing.assert_close(loaded(ours), network(ours), rtol=0.05, atol=0.05)  # half precision


def test_models_of_timm_are_built_by_timm(tmp_path):
    torch.manual_seed(0)
    made = timm.create_model("resnet10t", num_classes=4)
    timm.models.save_for_hf(made, tmp_path, model_config={"num_classes": 4})
    network = huggingface(str(tmp_path)).eval()
    image = torch.rand(2, 3, 32, 32)
    assert torch.equal(network(image), made.eval()(image))
    assert Classification(network).mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert huggingface(str(tmp_path), task="features")(image).shape == (2, 512)
