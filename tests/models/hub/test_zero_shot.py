"""Classifiers made of names, against the libraries' own zero-shot classification."""

import open_clip
import pytest
import torch
import transformers as hf
from models.hub import tiny

from dds.errors import InputError
from dds.models import zero_shot
from dds.tasks import Classification

CLASSES = ["dog", "cat", "white whale"]
TEMPLATES = ["a photo of a {}.", "art of the {}"]


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture
def image():
    return torch.rand(2, 3, 36, 44, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("make", [tiny.clip, tiny.siglip])
@torch.no_grad()
def test_logits_are_those_of_transformers(tmp_path, image, make):
    path = tiny.save(make, tmp_path)
    task = Classification(zero_shot(path, CLASSES)).eval()
    network = hf.AutoModel.from_pretrained(path).eval()
    padding = {"padding": "max_length", "max_length": 32} if make is tiny.siglip else {"padding": True}
    texts = [f"a photo of a {name}." for name in CLASSES]
    tokens = hf.AutoTokenizer.from_pretrained(path)(texts, return_tensors="pt", **padding)
    if make is tiny.siglip:
        del tokens["attention_mask"]
    pixels = hf.AutoImageProcessor.from_pretrained(path)(
        images=list(image), do_rescale=False, return_tensors="pt"
    )
    expected = network(input_ids=tokens["input_ids"], attention_mask=tokens.get("attention_mask"), **pixels)
    torch.testing.assert_close(task(image), expected.logits_per_image, rtol=1e-4, atol=1e-4)
    assert not any("text_model" in name for name, _ in task.named_parameters())


@torch.no_grad()
def test_logits_are_those_of_open_clip(tmp_path, image):
    name = tiny.save_open_clip(tmp_path / "net")
    task = Classification(zero_shot(name, CLASSES, TEMPLATES)).eval()
    network, _, transform = open_clip.create_model_and_transforms(name)
    templates = [lambda word, one=one: one.replace("{}", word) for one in TEMPLATES]
    texts = open_clip.build_zero_shot_classifier(
        network.eval(), open_clip.get_tokenizer(name), CLASSES, templates
    )
    features = network.encode_image(transform(image), normalize=True)
    torch.testing.assert_close(task(image), network.logit_scale.exp() * features @ texts)


@pytest.mark.parametrize("name", ["clip", "siglip", "open_clip"])
def test_gradients_equal_finite_differences(tmp_path, image, name):
    own = name == "open_clip"
    path = tiny.save_open_clip(tmp_path / name) if own else tiny.save(getattr(tiny, name), tmp_path)
    task = Classification(zero_shot(path, CLASSES)).eval().double()
    batch = {"label": torch.tensor([0, 2])}
    image = image.double().requires_grad_()
    (gradient,) = torch.autograd.grad(task.image_loss(image, batch).sum(), image)
    step = 1e-6 * torch.rand(image.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        ends = [task.image_loss(image + sign * step, batch).sum().item() for sign in (1, -1)]
    found = (gradient * step).sum().item() / 1e-6
    assert abs(found) > 1e-6
    assert found == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-3)


def test_names_come_from_a_file_or_from_imagenet(tmp_path):
    path = tiny.save(tiny.clip, tmp_path)
    (tmp_path / "names.txt").write_text("dog\ncat\n")
    one, other = zero_shot(path, str(tmp_path / "names.txt")), zero_shot(path, ["dog", "cat"])
    assert torch.equal(one.texts, other.texts)
    assert zero_shot(tiny.save_open_clip(tmp_path / "net"), "imagenet").texts.shape == (1000, 16)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"classes": ["dog"]}, "1 names, or an empty one"),
        ({"classes": ["dog", " "]}, "2 names, or an empty one"),
        ({"classes": "dogs"}, "classes='dogs'; expected names, a text file"),
        ({"classes": CLASSES, "templates": ["a photo"]}, r"templates=\['a photo'\]; expected sentences"),
        ({"classes": CLASSES, "name": "vit"}, "a ViTModel without a text model"),
        (
            {"classes": CLASSES, "name": "nobody/nothing"},
            "nothing is neither a folder nor in",
        ),
        ({"classes": CLASSES, "name": "local-dir:/nowhere"}, "local-dir:/nowhere cannot be loaded"),
    ],
)
def test_what_makes_no_classifier_is_named(tmp_path, given, said):
    path = tiny.save(tiny.vit if given.get("name") == "vit" else tiny.clip, tmp_path)
    name = path if given.get("name", "vit") == "vit" else given["name"]
    with pytest.raises(InputError, match=said):
        zero_shot(**{**given, "name": name})


def test_without_open_clip_its_installation_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "open_clip", None)
    with pytest.raises(InputError, match=r"read by open_clip.*pip install 'dds\[hub\]'"):
        zero_shot("local-dir:net", CLASSES)
