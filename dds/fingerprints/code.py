"""Which code computes: that of this project and of users by what is in the files, packages by version."""

import hashlib
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from dds.fingerprints.fingerprint import NoFingerprintError

_ALWAYS = ("torch", "torchvision", "numpy")
_NEVER = {
    "certificates",
    "cluster",
    "command_line",
    "fingerprints",
    "folders",
    "loggers",
    "reports",
    "results",
    "runs",
    "store",
}
_NEVER |= {"__main__.py", "cli.py", "evaluation.py", "options.py", "training.py", "whole_file.py"}
"""What of this package changes no attacked image."""

_HERE = Path(__file__).parents[1]
_PACKAGED = {"site-packages", "dist-packages"}


def code_of(modules: Iterable[str]) -> dict[str, str]:
    """Return a hash for all code of this package and of users that is loaded, and versions of packages.

    Of a user's code all that is loaded counts, not only what is used: one file may lean on another.

    Args:
        modules: Names of the modules in which classes and functions were defined that are used.

    Raises:
        NoFingerprintError: If one of them is in no file, as in a notebook.
    """
    used = {name for name in modules if name not in sys.builtin_module_names}
    main = "__main__" in used
    if main and not getattr(sys.modules["__main__"], "__file__", None):
        raise NoFingerprintError("a class or function of this notebook is in no file that could be compared")
    packages = {name.partition(".")[0] for name in used} - {"dds", "__main__"} | {*_ALWAYS}
    versions = {name: found for name in sorted(packages) if (found := _version(name))}
    return {"dds": _own(), "users": _hash(_of_users(main)), **versions}


def arithmetic() -> tuple[Any, ...]:
    """Return by which settings torch rounds otherwise on a GPU."""
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    return torch.get_float32_matmul_precision(), cuda.allow_tf32, cudnn.allow_tf32


@cache
def _own() -> str:
    files = [path for path in sorted(_HERE.rglob("*.py")) if path.relative_to(_HERE).parts[0] not in _NEVER]
    return _hash(files)


def _of_users(main: bool) -> Iterator[Path]:
    """Find the files of loaded modules that belong neither to a package nor to Python."""
    python = sysconfig.get_path("stdlib")
    # The program that was started is known by several names, and is another one in a submitted job.
    started = None if main else getattr(sys.modules["__main__"], "__file__", None)
    for name, module in sorted(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is None or file == started or name.partition(".")[0] == "dds":
            continue
        if (
            not _PACKAGED.intersection(Path(file).parts)
            and not file.startswith(python)
            and Path(file).is_file()
        ):
            yield Path(file)


def _hash(files: Iterable[Path]) -> str:
    found = hashlib.sha256()
    for content in [path.read_bytes() for path in files]:  # whatever the files are called
        found.update(hashlib.sha256(content).digest())
    return found.hexdigest()


def _version(package: str) -> str | None:
    """Return a package's version; None of what comes with Python or of a user."""
    if package in sys.stdlib_module_names:
        return None
    try:
        return version(package)
    except PackageNotFoundError:  # it may be called otherwise, as adversarial-robustness-toolbox is
        said = getattr(sys.modules.get(package), "__version__", None)
        return said if isinstance(said, str) else None
