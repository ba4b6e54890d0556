from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from dds.errors import InputError
from dds.models.hub.detector import HubDetector
from dds.models.hub.networks import HubDepth, HubFeatures, HubMasks, HubNetwork
from dds.models.hub.preprocessing import Preprocessing, read_preprocessing
from dds.models.hub.reaching import library, quietly, reaching, source_of

Kind = Literal["classification", "segmentation", "depth", "detection", "features"]

_AUTO = {
    "classification": "AutoModelForImageClassification",
    "segmentation": "AutoModelForSemanticSegmentation",
    "masks": "AutoModelForUniversalSegmentation",
    "depth": "AutoModelForDepthEstimation",
    "detection": "AutoModelForObjectDetection",
    "features": "AutoModel",
}
"""transformers' class for each kind of answer; the first that knows a model's architecture counts."""

_MASK_SIZES = {"mask2former": (384, 384)}
"""That its image processor enlarges masks to."""

_ALWAYS_METRIC = ("glpn", "zoedepth")


def huggingface(
    name: str,
    revision: str | None = None,
    task: Kind | None = None,
    processor: dict[str, Any] | None = None,
    depth: Literal["metric", "relative"] | None = None,
    labels: list[int] | None = None,
    pretrained: bool = True,
) -> nn.Module:
    """Load a model of transformers or timm, a folder or by its name on the Hugging Face hub.

    Images are resized, cropped, padded and normalised as the model's own image processor does, by
    differentiable operations, so that task.mean, task.std and task.input_size are left out. Weights are read
    from safetensors alone, and all of them must be there. timm's models are built by timm.

    Args:
        name: E.g. `nvidia/segformer-b0-finetuned-ade-512-512`; or a folder that `save_pretrained` wrote.
        revision: Branch, tag or commit on the hub.
        task: What it shall answer with; default: what its architecture is for. `features` makes a descriptor
            for retrieval of any: what the model pools, else its class token; of CLIP and SigLIP the image's
            place among texts.
        processor: Settings of its image processor to change, e.g. `{do_resize: false}`.
        depth: Whether depth is in metres or relative; default: what the model says, else relative.
        labels: Of a detector, the data set's class for each of the model's; default: COCO's ids for a model
            of COCO, else its classes counted from 1.
        pretrained: False: random weights in the same architecture, of which nothing is fetched.

    Returns:
        The network, float32.

    Raises:
        InputError: If transformers is not installed, there is no such model or no way to it, it is of no kind
            that a task knows, or weights are missing or only there as a pickle.
    """
    transformers = library("transformers")
    source = source_of(name)
    with reaching(name):
        config = transformers.AutoConfig.from_pretrained(
            source, revision=revision, trust_remote_code=False, local_files_only=not pretrained
        )
    if config.model_type == "timm_wrapper":
        return _of_timm(source, revision, task, pretrained)
    kind = _kind(transformers, config, name, task)
    with quietly(transformers):
        network, missing = _load(transformers, kind, source, revision, config, pretrained)
        preprocessing = read_preprocessing(source, revision, processor, not pretrained)
    if missing and kind == "features" and all(key.startswith("pooler.") for key in missing):
        network.pooler, missing = None, set()  # it would pool at random; the class token is there
    if missing:
        raise InputError(
            f"{name} holds no weights for {', '.join(sorted(missing)[:4])} of {type(network).__name__}; they "
            "would stay random. Name a model that was trained for this task, or task: features."
        )
    return _wrapped(kind, network, preprocessing, depth, labels)


def _kind(transformers: Any, config: Any, name: str, task: Kind | None) -> str:
    architectures = config.architectures or []
    known = [kind for kind, auto in _AUTO.items() if _is_known(transformers, auto, architectures)]
    if task == "segmentation" and "masks" in known:
        return "masks"
    if task is not None:
        return task
    if not known and not hasattr(config, "vision_config"):
        raise InputError(
            f"{name} is a {', '.join(architectures) or config.model_type}, for none of classification, "
            "segmentation, depth, detection; set task to one of them, or to features, if it does it all the "
            "same."
        )
    return known[0] if known else "features"


def _is_known(transformers: Any, auto: str, architectures: Iterable[str]) -> bool:
    classes = getattr(transformers, auto)._model_mapping._model_mapping.values()
    names = {name for entry in classes for name in ([entry] if isinstance(entry, str) else entry)}
    return not names.isdisjoint(architectures)


def _load(
    transformers: Any, kind: str, source: str, revision: str | None, config: Any, pretrained: bool
) -> tuple[Any, set[str]]:
    """Return the model, and the names of those of its weights that its files do not hold."""
    auto = getattr(transformers, _AUTO[kind])
    with reaching(source):
        if not pretrained:
            return auto.from_config(config, dtype=torch.float32, trust_remote_code=False), set()
        network, report = auto.from_pretrained(
            source,
            revision=revision,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    return network, set(report["missing_keys"])


def _wrapped(
    kind: str,
    network: Any,
    preprocessing: Preprocessing,
    depth: str | None,
    labels: list[int] | None,
) -> nn.Module:
    config = network.config
    metric = config.model_type in _ALWAYS_METRIC or getattr(config, "depth_estimation_type", "") == "metric"
    relative = depth == "relative" or (depth is None and not metric)
    builders: dict[str, Callable[..., nn.Module]] = {
        "masks": partial(HubMasks, size=_MASK_SIZES.get(config.model_type)),
        "depth": partial(HubDepth, relative=relative),
        "detection": partial(HubDetector, labels=labels),
        "features": HubFeatures,
    }
    return builders.get(kind, HubNetwork)(network, preprocessing)


def _of_timm(source: str, revision: str | None, task: str | None, pretrained: bool) -> nn.Module:
    """Build a model of timm, which says by itself how its input is normalised."""
    import timm  # takes seconds

    if task not in (None, "classification", "features"):
        raise InputError(f"{source} is a model of timm; expected task classification or features.")
    place = f"local-dir:{source}" if Path(source).is_dir() else f"hf-hub:{source}"
    options = {"num_classes": 0} if task == "features" else {}
    with reaching(source):
        name = place if revision is None else f"{place}@{revision}"
        return timm.create_model(name, pretrained=pretrained, **options)  # type: ignore[no-any-return]
