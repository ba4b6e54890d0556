import json
from collections import defaultdict
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from dds.data.base import BaseDataModule, Sample, Split
from dds.data.boxed_images import BoxedImage, BoxedImages
from dds.data.files import check_pixels
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
        try:
            images = _boxed_images(self.root / name, json.loads(path.read_bytes()))
        except FileNotFoundError as error:
            raise InputError(f"{path} does not exist. {_REMEDY}") from error
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
            raise InputError(
                f"{path} is not in the form of COCO's instances: {error!r}. {_REMEDY}"
            ) from error
        return BoxedImages(images, self.size, augment=split == "train")


def _boxed_images(folder: Path, content: Entry) -> list[BoxedImage]:
    images = _by_id(content["images"])
    objects = _objects(images, _by_id(content["categories"]), content["annotations"])
    paths = {n: inside(folder, image["file_name"], f"image {n}") for n, image in images.items()}
    require_files(list(paths.values()), _REMEDY)
    return [_boxed_image(paths[number], image, objects[number]) for number, image in images.items()]


def _by_id(entries: list[Entry]) -> dict[int, Entry]:
    found = {entry["id"]: entry for entry in entries}
    if len(found) < len(entries):
        raise InputError(f"{len(entries) - len(found)} entries share their id with another. {_REMEDY}")
    return found


def _objects(
    images: Container[int], categories: Container[int], annotations: list[Entry]
) -> dict[int, list[Entry]]:
    objects = defaultdict(list)
    for entry in annotations:
        for key, known in (("image_id", images), ("category_id", categories)):
            if entry[key] not in known:
                raise InputError(
                    f"annotation {entry.get('id')} has {key} {entry[key]}, which the file does not list. "
                    f"{_REMEDY}"
                )
        objects[entry["image_id"]].append(entry)
    return objects


def _boxed_image(path: Path, image: Entry, objects: list[Entry]) -> BoxedImage:
    check_pixels(f"image {image['id']}", image["height"], image["width"])
    # (n, 4) as x, y, width, height
    boxes = torch.tensor([entry["bbox"] for entry in objects], dtype=torch.float64).reshape(len(objects), 4)
    boxes[:, 2:] += boxes[:, :2]
    return BoxedImage(
        path,
        (image["height"], image["width"]),
        boxes.float(),
        torch.tensor([entry["category_id"] for entry in objects], dtype=torch.int64),
        torch.tensor([entry.get("iscrowd", 0) == 1 for entry in objects], dtype=torch.bool),
    )
