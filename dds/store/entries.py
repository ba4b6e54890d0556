"""An attacked image as it is kept: every bit of it, as what differs from the image, compressed."""

import hashlib
import json
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

_CODEC = pa.Codec("zstd", compression_level=3)
_DIGEST = hashlib.sha256().digest_size
_BITS = {torch.float32: np.uint32, torch.float64: np.uint64}


class DamagedError(Exception):
    """An entry is not what was written."""


def pack(attacked: Tensor, image: Tensor, marks: Mapping[str, float]) -> bytes:
    """Return an entry.

    Args:
        attacked: `[3, H, W]`, float32 or float64.
        image: What it was before the attack, likewise.
        marks: What is to be marked of it.
    """
    differing = np.bitwise_xor(_bits(attacked), _bits(image))  # [N]; mostly of the lowest bits
    planes = differing.view(np.uint8).reshape(-1, differing.itemsize).T  # like bytes lie together
    content = json.dumps(dict(marks)).encode() + b"\n" + _CODEC.compress(planes.tobytes(), asbytes=True)
    return bytes(hashlib.sha256(content).digest() + content)


def unpack(entry: bytes, image: Tensor) -> tuple[Tensor, dict[str, float]]:
    """Return what `pack` was given, to the bit.

    Args:
        entry: What it returned.
        image: `[3, H, W]`, the same as then.

    Raises:
        DamagedError: If it did not return that.
    """
    digest, content = entry[:_DIGEST], entry[_DIGEST:]
    if hashlib.sha256(content).digest() != digest:
        raise DamagedError
    marks, _, compressed = content.partition(b"\n")
    bits = _bits(image)
    planes = np.frombuffer(_CODEC.decompress(compressed, bits.nbytes, asbytes=True), np.uint8)
    differing = np.ascontiguousarray(planes.reshape(bits.itemsize, -1).T).view(bits.dtype).reshape(-1)
    attacked = torch.from_numpy(np.bitwise_xor(bits, differing).view(f"f{bits.itemsize}"))
    return attacked.reshape(image.shape).to(image.device), json.loads(marks)


def _bits(image: Tensor) -> NDArray[np.unsignedinteger]:
    values = image.detach().cpu().contiguous().reshape(-1).numpy()
    return values.view(_BITS[image.dtype])
