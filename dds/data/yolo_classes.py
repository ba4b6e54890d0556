"""Which classes the text files of YOLO detectors count."""

from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from dds.coco_ids import COCO_IDS, COCO_NAMES
from dds.data.files import read_text
from dds.errors import InputError

CLASS_LISTS = ("data.yaml", "classes.txt")
"""Names under which class lists are found; the second is no text file of an image."""

_COCOS_NAMES = {
    COCO_NAMES,
    tuple(
        {"motorcycle": "motorbike", "airplane": "aeroplane", "couch": "sofa", "potted plant": "pottedplant",
         "dining table": "diningtable", "tv": "tvmonitor"}.get(name, name)
        for name in COCO_NAMES
    ),
}  # fmt: skip
"""COCO's names, and as darknet has them."""


def find_class_list(*folders: Path) -> Path | None:
    """Return the first class list that lies in one of some folders, if there is any."""
    candidates = (folder / name for folder in folders for name in CLASS_LISTS)
    return next((path for path in candidates if path.is_file()), None)


def read_class_names(path: Path) -> list[str]:
    """Read the names of classes in their order: `names` of a YAML, or the lines of a text.

    Raises:
        InputError: If it is no such list, or a class between others lacks a name.
    """
    if not path.is_file():
        raise InputError(f"there is no class list {path}. Correct data.names, a path below data.root.")
    text = read_text(path)
    if path.suffix in (".yaml", ".yml"):
        names = _names_of_yaml(text)
    else:
        names = dict(enumerate(line.strip() for line in text.rstrip().splitlines()))
    if not names or sorted(names) != list(range(len(names))) or not all(names.values()):
        raise InputError(
            f"{path} holds no class names; expected a name for each class from 0 on, a line each, or in a "
            "YAML as `names`, a list or {0: …, 1: …}."
        )
    return [names[number] for number in range(len(names))]


def _names_of_yaml(text: str) -> dict[int, str]:
    try:
        found: Any = yaml.safe_load(text)["names"]
        named = found if isinstance(found, dict) else dict(enumerate(found))
        return {int(number): str(name) for number, name in named.items()}
    except (yaml.YAMLError, LookupError, TypeError, ValueError):
        return {}


def category_ids(names: list[str] | None) -> Tensor:
    """Return the category of each class that is counted from 0, `[C]` int64.

    Args:
        names: Of the classes; None: COCO's.
    """
    if names is None or tuple(names) in _COCOS_NAMES:
        return torch.tensor(COCO_IDS)
    return torch.arange(1, len(names) + 1)
