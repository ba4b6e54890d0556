import json
from collections import defaultdict
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from dds.data.base import BaseDataModule, Sample, Split
from dds.data.boxed_images import BoxedImage, BoxedImages
from dds.data.files import check_pixels, image_size
from dds.data.listing import inside, require_files
from dds.errors import InputError

Entry = Mapping[str, Any]

_REMEDY = (
    "Download val2017.zip (1 GB) and annotations_trainval2017.zip (cocodataset.org), for training also "
    "train2017.zip, and unpack them into data.root: val2017/*.jpg and annotations/instances_val2017.json."
)


class CocoDetection(BaseDataModule):
    """COCO detection: `annotations/instances_<set>.json` and the images `<set>/*.jpg`.

    `classes` are the file's own category ids, for COCO 1 to 90 with gaps. Images without objects stay, as the
    protocol counts the false detections on them.

    Args:
        root: Folder that holds `annotations` and the images.
        size: `[height, width]` of the letterbox: images keep their aspect ratio, are placed at the top left
            and filled up with grey; null leaves them as they are. COCO's longer sides measure 640 pixels.
        test_set: What `val` and `test` both are.
        train_set: What is trained on.
        **options: Those of `BaseDataModule`.
    """

    def __init__(
        self,
        root: str = "data/coco",
        size: tuple[int, int] | None = (640, 640),
        test_set: str = "val2017",
        train_set: str = "train2017",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.root, self.size = Path(root).expanduser(), size
        self.test_set, self.train_set = test_set, train_set

    def load(self, split: Split) -> Dataset[Sample]:
        """Open a split; training images are randomly mirrored."""
        name = self.train_set if split == "train" else self.test_set
        path = self.root / "annotations" / f"instances_{name}.json"
        return BoxedImages(
            read_instances(path, self.root / name, _REMEDY), self.size, augment=split == "train"
        )


def read_instances(path: Path, folder: Path, remedy: str, from_one: bool = False) -> list[BoxedImage]:
    """Read the images and objects of a file in the form of COCO's instances.

    Args:
        path: The file.
        folder: Where the names of its images start.
        remedy: What to do if the files are not as expected; ends the errors' messages.
        from_one: Whether classes count from 1 in the order of the categories' ids, instead of being those.

    Raises:
        InputError: If it is no such file, or an image is not there.
    """
    try:
        content = json.loads(path.read_bytes())
        images = _by_id(content["images"])
        categories = {
            n: 1 + place if from_one else n for place, n in enumerate(sorted(_by_id(content["categories"])))
        }
        objects = _objects(images, categories, content["annotations"])
        paths = {n: inside(folder, image["file_name"], f"image {n}") for n, image in images.items()}
        require_files(list(paths.values()), remedy)
        return [_boxed_image(paths[n], image, objects[n], categories) for n, image in images.items()]
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist. {remedy}") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise InputError(f"{path} is not in the form of COCO's instances: {error!r}. {remedy}") from error


def _by_id(entries: list[Entry]) -> dict[int, Entry]:
    found = {entry["id"]: entry for entry in entries}
    if len(found) < len(entries):
        raise InputError(f"{len(entries) - len(found)} entries share their id with another.")
    return found


def _objects(
    images: Container[int], categories: Container[int], annotations: list[Entry]
) -> dict[int, list[Entry]]:
    objects = defaultdict(list)
    for entry in annotations:
        for key, known in (("image_id", images), ("category_id", categories)):
            if entry[key] not in known:
                raise InputError(
                    f"annotation {entry.get('id')} has {key} {entry[key]}, which the file does not list."
                )
        objects[entry["image_id"]].append(entry)
    return objects


def _boxed_image(path: Path, image: Entry, objects: list[Entry], categories: Mapping[int, int]) -> BoxedImage:
    height, width = (image["height"], image["width"]) if "height" in image else image_size(path)
    check_pixels(f"image {image['id']}", height, width)
    # (n, 4) as x, y, width, height
    boxes = torch.tensor([entry["bbox"] for entry in objects], dtype=torch.float64).reshape(len(objects), 4)
    boxes[:, 2:] += boxes[:, :2]
    return BoxedImage(
        path,
        (height, width),
        boxes.float(),
        torch.tensor([categories[entry["category_id"]] for entry in objects], dtype=torch.int64),
        torch.tensor([entry.get("iscrowd", 0) == 1 for entry in objects], dtype=torch.bool),
    )
