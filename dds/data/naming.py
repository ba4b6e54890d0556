"""What images are called, so that files which other tools made of them are found again."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dds.data.listing import list_images
from dds.errors import InputError


def image_names(dataset: Any) -> list[str]:
    """Return what each image of a data set is called: its file's path below the folder of all, no suffix.

    Images that are no files, and all of a data set in which two would have one name, are called by their
    place.

    Args:
        dataset: Where its images are files, with `image_paths`, one for each image.
    """
    paths, images = getattr(dataset, "image_paths", []), len(dataset)
    names = _names_of([Path(path) for path in paths if isinstance(path, str | os.PathLike)])
    return names if len(set(names)) == images else [place_name(place) for place in range(images)]


def _names_of(paths: Sequence[Path]) -> list[str]:
    root = os.path.commonpath([path.parent for path in paths]) if paths else ""
    return [_name(path, Path(root)) for path in paths]


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).with_suffix("").as_posix()


def place_name(place: int) -> str:
    """Return what an image is called that has but a place in its data set, e.g. `000012`."""
    return f"{place:06d}"


def place_of(name: str) -> int | None:
    """Return the place that a name of `place_name` stands for; None for any other name."""
    return int(name) if name.isdecimal() and name == place_name(int(name)) else None


def images_by_name(folder: Path, remedy: str) -> dict[str, Path]:
    """Return the visible image files anywhere below a folder by their names: paths below it, no suffix.

    Args:
        folder: Where to look.
        remedy: What to do if they are not as expected; ends the errors' messages.

    Raises:
        InputError: If there is no such folder, no image in it, or two have one name.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}. {remedy}")
    named: dict[str, Path] = {}
    for path in list_images(folder):
        other = named.setdefault(_name(path, folder), path)
        if other != path:
            raise InputError(f"{other} and {path} have one name but for the suffix. {remedy}")
    if not named:
        raise InputError(f"{folder} holds no images. {remedy}")
    return named
