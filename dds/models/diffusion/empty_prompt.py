import importlib
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import Tensor

from dds.errors import InputError
from dds.models.diffusion.diffusers_folder import DiffusersFolder


def embed_empty_prompt(folder: DiffusersFolder) -> Tensor:
    """Return what a model's text encoder makes of the empty prompt, as Stable Diffusion's pipelines do.

    Args:
        folder: A model with `text_encoder/`, a CLIP text model, and `tokenizer/`.

    Returns:
        `[1, L, D]`, L tokens with D features.

    Raises:
        InputError: If the package `transformers` is absent, or the encoder is of another kind or cannot be
            loaded.
    """
    config = folder.read_json("text_encoder/config.json") or {}
    if config.get("architectures") != ["CLIPTextModel"]:
        raise InputError(
            f"the text encoder of {folder.source} is {config.get('architectures')}; expected a "
            "CLIPTextModel, as in Stable Diffusion 1 and 2. Name such a model."
        )
    tokenizer, encoder = _load(folder)
    length = tokenizer.model_max_length
    tokens = tokenizer("", padding="max_length", max_length=length, return_tensors="pt").input_ids  # (1, L)
    with torch.no_grad():
        return cast(Tensor, encoder.float().eval()(tokens).last_hidden_state)


def _load(folder: DiffusersFolder) -> tuple[Any, Any]:
    try:
        transformers = importlib.import_module("transformers")
        tokenizer = transformers.CLIPTokenizer.from_pretrained(folder.source, subfolder="tokenizer")
        encoder, report = transformers.CLIPTextModel.from_pretrained(
            folder.source,
            subfolder="text_encoder",
            use_safetensors=True,
            variant=folder.variant("text_encoder", use_safetensors=True),
            output_loading_info=True,
        )
    except ImportError as error:
        raise InputError(
            f"{folder.source} has a text encoder, which the package transformers reads. "
            "Run: pip install transformers"
        ) from error
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(
            f"the text encoder of {folder.source} cannot be loaded: {error} {folder.remedy}"
        ) from error
    if report["missing_keys"]:
        raise InputError(
            f"the text encoder of {folder.source} lacks {', '.join(sorted(report['missing_keys'])[:4])}. "
            f"{folder.remedy}"
        )
    return tokenizer, encoder
