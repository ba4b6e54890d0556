"""Reading a pickle of numbers, text, containers and numpy arrays, without running code from it."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from dds.errors import InputError


class _Dtype:
    """What a pickle gets for `numpy.dtype`: formats of plain values only.

    numpy's own unpickling functions make objects of raw bytes where the format says so, which a forged file
    can turn into running code; hence these stand-ins.
    """

    def __init__(self, code: str, *_: Any) -> None:
        self.dtype = np.dtype(str(code))
        if self.dtype.hasobject:
            raise pickle.UnpicklingError("it holds an array of objects")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array(np.ndarray[Any, Any]):
    def __setstate__(self, state: Any) -> None:
        version, shape, dtype, fortran, data = state
        super().__setstate__((version, shape, dtype.dtype, fortran, data))


_MODULES = ("builtins", "__builtin__", "_codecs", "numpy")
_ADMITTED: dict[str, Any] = {
    "ndarray": None,  # only ever an argument of _reconstruct
    "dtype": _Dtype,
    "_reconstruct": lambda *_: _Array(0),
    "_frombuffer": lambda data, dtype, shape, order: np.frombuffer(data, dtype.dtype).reshape(
        shape, order=order
    ),
    "scalar": lambda dtype, data: np.frombuffer(data, dtype.dtype)[0],
    "encode": lambda text, _: text.encode("latin1"),  # how protocol 2 spells bytes
    "bytes": lambda: b"",  # how it spells none; with a number, `bytes` would fill the memory
    "set": set,
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] in _MODULES and name in _ADMITTED:
            return _ADMITTED[name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def read_plain_pickle(path: Path) -> Any:
    """Read a pickle of plain values.

    Raises:
        InputError: If the file is absent or damaged, or asks for anything else to be imported.
    """
    try:
        with path.open("rb") as file:
            return _PlainUnpickler(file).load()
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.") from error
    except Exception as error:  # a damaged pickle raises almost anything
        raise InputError(
            f"{path} is not read as plain lists and numbers: {error}. It is damaged, or reading it could run "
            "code: download it again from where you trust it."
        ) from error
