"""Classifiers made of the names of their classes, by models of image and text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dds.errors import InputError
from dds.models.answers import answer_of
from dds.models.hub.networks import image_features
from dds.models.hub.preprocessing import Preprocessing, read_preprocessing
from dds.models.hub.reaching import library, quietly, reaching, source_of

_OPEN_CLIP = ("hf-hub:", "local-dir:")
_IMAGENET = "imagenet"


class ZeroShot(nn.Module):
    """An image classifier whose classes are texts (Radford et al., ICML 2021, section 3.1).

    The logit of a class is the cosine between image and text, times the model's scale, plus its bias where it
    has one (SigLIP).

    Args:
        texts: `[C, F]`, a vector of length 1 for each class.
        scale: What cosines are multiplied by, as the model learned it.
        bias: What is added.
    """

    normalisation: ClassVar = (0.0, 1.0)
    normalises_itself: ClassVar = True
    texts: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, texts: Tensor, scale: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("texts", texts.detach().clone())
        self.register_buffer("scale", scale.detach().clone())
        self.register_buffer("bias", torch.zeros_like(scale) if bias is None else bias.detach().clone())

    def describe(self, image: Tensor) -> Tensor:
        """Return `[B, F]`, the place of images `[B, 3, H, W]` in [0, 1] among the texts."""
        raise NotImplementedError

    def forward(self, image: Tensor) -> Tensor:
        """Return logits `[B, C]` of images `[B, 3, H, W]` in [0, 1]."""
        return self.scale * F.normalize(self.describe(image), dim=-1) @ self.texts.T + self.bias


class TransformersZeroShot(ZeroShot):
    """CLIP, SigLIP and their like of transformers, without the part that reads texts."""

    def __init__(
        self, network: Any, preprocessing: Preprocessing, texts: Tensor, scale: Tensor, bias: Tensor | None
    ) -> None:
        super().__init__(texts, scale, bias)
        network.text_model = nn.Identity()
        self.network, self.preprocessing = network, preprocessing

    def describe(self, image: Tensor) -> Tensor:
        """Return `[B, F]` of images `[B, 3, H, W]` in [0, 1]."""
        return image_features(self.network, self.preprocessing(image))


class OpenClipZeroShot(ZeroShot):
    """Models of open_clip, of which the part that sees images is kept."""

    def __init__(
        self, visual: nn.Module, transform: nn.Module, texts: Tensor, scale: Tensor, bias: Tensor | None
    ) -> None:
        super().__init__(texts, scale, bias)
        self.visual, self.transform = visual, transform

    def describe(self, image: Tensor) -> Tensor:
        """Return `[B, F]` of images `[B, 3, H, W]` in [0, 1]."""
        return answer_of(self.visual(self.transform(image)))


def zero_shot(
    name: str,
    classes: list[str] | str,
    templates: list[str] | str = "a photo of a {}.",
    revision: str | None = None,
    processor: dict[str, Any] | None = None,
) -> nn.Module:
    """Make an image classifier of the names of classes, by CLIP or SigLIP; texts are read once, here.

    The text of a class is the mean of the unit vectors of all templates with its name, of length 1 again.

    Args:
        name: A model of transformers, a folder or by its name on the hub, such as
            `openai/clip-vit-base-patch32`; or one of open_clip, as this calls it, `hf-hub:<name>` or
            `local-dir:<folder>`.
        classes: Their names, in the order of the data set's labels; a text file with a name a line; or
            `imagenet`: open_clip's of the 1,000 classes.
        templates: Sentences with `{}` in the place of the name; one such sentence; or
            `imagenet`: the 80 of CLIP.
        revision: Branch, tag or commit on the hub, of transformers' models.
        processor: Settings of its image processor to change, of transformers' models.

    Returns:
        The classifier, float32, with gradients to the image.

    Raises:
        InputError: If the package is not installed, there is no such model or no way to it, it does not read
            texts, or a name or template is empty.
    """
    names = _names(classes)
    sentences = _sentences(templates)
    texts = [[sentence.replace("{}", name) for sentence in sentences] for name in names]
    if name.startswith(_OPEN_CLIP):
        return _of_open_clip(name, texts)
    return _of_transformers(name, revision, texts, processor)


def _names(classes: Sequence[str] | str) -> list[str]:
    if classes == _IMAGENET:
        return list(library("open_clip").IMAGENET_CLASSNAMES)
    if isinstance(classes, str):
        path = Path(classes).expanduser()
        if not path.is_file():
            raise InputError(
                f"classes={classes!r}; expected names, a text file with a name a line, or imagenet."
            )
        classes = path.read_text().splitlines()
    names = [str(name).strip() for name in classes]
    if len(names) < 2 or not all(names):
        raise InputError(f"classes has {len(names)} names, or an empty one; expected two or more.")
    return names


def _sentences(templates: Sequence[str] | str) -> list[str]:
    if templates == _IMAGENET:
        return [template("{}") for template in library("open_clip").OPENAI_IMAGENET_TEMPLATES]
    sentences = [templates] if isinstance(templates, str) else list(templates)
    strange = [sentence for sentence in sentences if "{}" not in sentence]
    if strange or not sentences:
        raise InputError(
            f"templates={sentences}; expected sentences such as 'a photo of a {{}}.', with {{}} in the place "
            "of a class's name; or imagenet."
        )
    return sentences


def _mean(vectors: Tensor) -> Tensor:
    """Return the mean direction of `[T, F]` vectors, `[F]`."""
    return F.normalize(F.normalize(vectors, dim=-1).mean(0), dim=-1)


@torch.no_grad()
def _of_transformers(
    name: str, revision: str | None, texts: list[list[str]], processor: dict[str, Any] | None
) -> nn.Module:
    transformers = library("transformers")
    source = source_of(name)
    options = {"revision": revision, "trust_remote_code": False}
    with quietly(transformers), reaching(name):
        network, report = transformers.AutoModel.from_pretrained(
            source, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **options
        )
        if not hasattr(network, "get_text_features") or report["missing_keys"]:
            raise InputError(
                f"{name} is a {type(network).__name__} without a text model, or its weights; expected "
                "CLIP, SigLIP or one like them, which place images among texts."
            )
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, **options)
        preprocessing = read_preprocessing(source, revision, processor)
        network.eval()
        vectors = [_mean(_text_features(network, tokenizer, one)) for one in texts]
    bias = getattr(network, "logit_bias", None)
    scale = network.logit_scale.exp()
    return TransformersZeroShot(network, preprocessing, torch.stack(vectors), scale, bias)


def _text_features(network: Any, tokenizer: Any, texts: list[str]) -> Tensor:
    """Return `[T, F]`; SigLIP was trained on texts that are padded to their full length."""
    longest = network.config.text_config.max_position_embeddings
    padded = network.config.model_type.startswith("siglip")
    tokens = tokenizer(
        texts,
        padding="max_length" if padded else True,
        truncation=True,
        max_length=longest,
        return_tensors="pt",
    )
    mask = None if padded else tokens["attention_mask"]  # SigLIP attends to the padding, too
    return answer_of(network.get_text_features(input_ids=tokens["input_ids"], attention_mask=mask))


@torch.no_grad()
def _of_open_clip(name: str, texts: list[list[str]]) -> nn.Module:
    open_clip = library("open_clip")
    with reaching(name):
        network, _, transform = open_clip.create_model_and_transforms(name)
        tokenizer = open_clip.get_tokenizer(name)
        network.eval()
        vectors = [_mean(answer_of(network.encode_text(tokenizer(one)))) for one in texts]
    steps = [step for step in transform.transforms if type(step).__module__.startswith("torchvision")]
    return OpenClipZeroShot(
        network.visual,
        nn.Sequential(*steps),
        torch.stack(vectors),
        network.logit_scale.exp(),
        network.logit_bias,
    )
