"""Where a release of Pascal VOC keeps what."""

from pathlib import Path

from dds.data.files import read_lines
from dds.data.listing import inside, refuse_duplicates, require_files
from dds.errors import InputError

CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle",
    "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person",
    "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""The 20 classes; in masks they count from 1."""

REMEDY = (
    "Download VOCtrainval_11-May-2012.tar (host.robots.ox.ac.uk/pascal/VOC/voc2012), unpack it and set "
    "data.root to its VOCdevkit/VOC2012, which holds Annotations, ImageSets, JPEGImages, SegmentationClass."
)


def find_release(root: Path) -> Path:
    """Return the folder of a release, such as VOC2012: the root, or the only one in it or in its VOCdevkit.

    Raises:
        InputError: If there is none, or more than one.
    """
    candidates = [root, *root.glob("VOC*"), *root.glob("VOCdevkit/VOC*")]
    found = sorted(folder for folder in candidates if (folder / "JPEGImages").is_dir())
    if not found:
        raise InputError(f"{root} holds no release of Pascal VOC (no folder JPEGImages). {REMEDY}")
    if len(found) > 1:
        raise InputError(
            f"{root} holds several releases of Pascal VOC: {', '.join(map(str, found))}. "
            "Set data.root to one of them."
        )
    return found[0]


def read_image_set(release: Path, kind: str, name: str) -> list[str]:
    """Return the names of the images in a set, e.g. `2007_000033`; the images are there.

    Args:
        release: Folder of the release.
        kind: Which task's sets: `Main` (classification and detection) or `Segmentation`.
        name: The set, e.g. `train` or `val`.

    Raises:
        InputError: If there is no such set, or it names an image twice, one that does not exist, or a path
            out of the release.
    """
    path = release / "ImageSets" / kind / f"{name}.txt"
    if not path.is_file():
        raise InputError(f"there is no set of images {path}. {REMEDY}")
    names = read_lines(path)
    refuse_duplicates(names, path)
    require_files([inside(release / "JPEGImages", f"{image}.jpg", path) for image in names], REMEDY)
    return names


def image_path(release: Path, name: str) -> Path:
    """Return the file of an image."""
    return release / "JPEGImages" / f"{name}.jpg"
