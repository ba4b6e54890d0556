"""One perturbation for many images, in a safetensors file that says its budget."""

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from dds.attacks.base import TOLERANCE, pixels
from dds.errors import InputError
from dds.whole_file import whole_file

_NAME = "perturbation"

_EXPECTED = (
    "Expected what Universal has made, or safetensors.torch.save_file({'perturbation': tensor}, path, "
    "{'eps': '8/255', 'norm': 'linf'}), the tensor [3, H, W] in [0, 1] pixel units."
)


def write_perturbation(path: Path, perturbation: Tensor, eps: float, norm: str, made: str) -> None:
    """Write a file.

    Args:
        path: The file; it has all of its content or is not there.
        perturbation: `[3, H, W]` in [0, 1] pixel units.
        eps: The budget.
        norm: `linf` or `l2`.
        made: What it was made for, for who finds the file.

    Raises:
        InputError: If it cannot be written.
    """
    said = {"eps": repr(eps), "norm": norm, "made": made}
    with whole_file(path, "Name a writable place by the attack's folder.") as file:
        file.write(save({_NAME: perturbation.detach().cpu().contiguous()}, said))


def read_perturbation(path: Path, eps: float, norm: str) -> Tensor:
    """Read a file.

    Args:
        path: The file.
        eps: The budget that it must have been made for.
        norm: `linf` or `l2`, likewise.

    Returns:
        `[3, H, W]` on the CPU.

    Raises:
        InputError: If it is not there, is damaged, or holds something else.
    """
    try:
        with safe_open(str(path), "pt") as file:
            said, names = file.metadata() or {}, list(file.keys())
            perturbation: Tensor | None = file.get_tensor(_NAME) if names == [_NAME] else None
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} cannot be read as a perturbation: {error}. {_EXPECTED}") from error
    if perturbation is None or not {"eps", "norm"} <= said.keys():
        held = ", ".join(names) + f" and says {', '.join(said) or 'nothing of its budget'}"
        raise InputError(f"{path} holds {held}. {_EXPECTED}")
    if perturbation.ndim != 3 or len(perturbation) != 3 or not perturbation.is_floating_point():
        shape = tuple(perturbation.shape)
        raise InputError(f"{path} holds {perturbation.dtype} of shape {shape}. {_EXPECTED}")
    if said["norm"] != norm or abs(pixels(f"{path}: eps", said["eps"]) - eps) > TOLERANCE:
        raise InputError(
            f"{path} was made for {said['norm']} eps={said['eps']}, but the attack has {norm} eps={eps:.6g}. "
            "Set the budget that it was made for, or name another file."
        )
    longest = torch.linalg.vector_norm(perturbation.flatten(), torch.inf if norm == "linf" else 2).item()
    if not longest <= eps + TOLERANCE:  # nor if it is not finite
        raise InputError(f"{path} is {norm} {longest:.6g}; expected at most its eps={eps:.6g}.")
    return perturbation
