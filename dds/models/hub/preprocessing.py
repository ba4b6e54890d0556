"""What the image processor of a model does to its images, so that attacks have a gradient through it."""

from functools import partial
from typing import Any

from torch import Tensor

from dds.errors import InputError
from dds.models.hub.reaching import library, reaching

_BYTES = 255.0


class Preprocessing:
    """The image processor of a model of transformers, at work on images in [0, 1].

    Args:
        processor: Of transformers, working on tensors (torchvision's backend).
        settings: Those of its settings that are changed, e.g. `{size: {height: 64, width: 64}}`.
    """

    def __init__(self, processor: Any, settings: dict[str, Any]) -> None:
        if getattr(processor, "backend", None) != "torchvision":
            raise InputError(
                f"{type(processor).__name__} does not work on tensors, so that attacks would have no "
                "gradient through it. Load the network by a function of your own, and set "
                "task.mean and task.std."
            )
        rescaled = settings.get("do_rescale", processor.do_rescale)
        factor = settings.get("rescale_factor", processor.rescale_factor) if rescaled else 1.0
        self.processor = processor
        processor.rescale_and_normalize = partial(_rescale_and_normalise, processor)
        self.settings = {**settings, "do_rescale": True, "rescale_factor": round(_BYTES * factor, 9)}

    def __call__(self, image: Tensor) -> dict[str, Tensor]:
        """Return what the network is called with, of images `[B, 3, H, W]` in [0, 1], differentiably."""
        found = self.processor(
            images=list(image), input_data_format="channels_first", return_tensors="pt", **self.settings
        )
        tensors = {name: value for name, value in found.items() if isinstance(value, Tensor)}
        return {
            name: value.to(image) if value.is_floating_point() else value for name, value in tensors.items()
        }


def _rescale_and_normalise(
    processor: Any,
    images: Tensor,
    do_rescale: bool,
    rescale_factor: float,
    do_normalize: bool,
    image_mean: list[float],
    image_std: list[float],
) -> Tensor:
    """Do what transformers does, without its cast to float32, which would be felt in float64."""
    if not do_normalize:
        return processor.rescale(images, rescale_factor)  # type: ignore[no-any-return]
    mean, std = (images.new_tensor(value) / rescale_factor for value in (image_mean, image_std))
    return processor.normalize(images, mean, std)  # type: ignore[no-any-return]


def read_preprocessing(
    name: str, revision: str | None, settings: dict[str, Any] | None, local: bool = False
) -> Preprocessing:
    """Read the image processor of a model.

    Args:
        name: A folder, or a name on the hub.
        revision: Of the name on the hub.
        settings: Those of its settings that are changed.
        local: Whether nothing is fetched.

    Raises:
        InputError: If it has none, so that nobody knows what its input wants, or one that cannot be read.
    """
    transformers = library("transformers")
    try:
        with reaching(name):
            processor = transformers.AutoImageProcessor.from_pretrained(
                name, revision=revision, trust_remote_code=False, local_files_only=local
            )
    except InputError as error:
        if not settings:
            raise InputError(
                f"{name} has no image processor that says how its input is sized and normalised ({error}) "
                "Say it: processor: {do_resize: false, image_mean: […], image_std: […]}."
            ) from error
        processor = transformers.ViTImageProcessor()
    return Preprocessing(processor, settings or {})
