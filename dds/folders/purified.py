import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from dds.callbacks import AttackAndPurify
from dds.callbacks.repeatable import repeatable
from dds.data.files import image_size, read_image
from dds.data.naming import images_by_name, place_of
from dds.errors import InputError
from dds.noise import Streams
from dds.numbers import number_of_images
from dds.protocol import Defence
from dds.runs.png_files import sha256_of, source_of, write_png
from dds.runs.provenance import provenance
from dds.telling import told
from dds.whole_file import PARTIAL, remove_partial, whole_file, writing

_REMEDY = "Set --images to a folder of image files, each with a name of its own."
_FULL = "Make room there, or set --out to a writable place; what was purified is kept."

_WRITTEN = "8-bit PNG, each value rounded to the nearest grey level: <defence>/<draw>/<name>.png"
_NOISE = (
    "as in an evaluation, of seed, image, purpose and draw; the image stands there by its place in the data "
    "set, here by its number `noise`: of a name like 000012 that number, of any other the first 8 bytes of "
    "its SHA-256; the name is the path below the folder, without suffix"
)


class PurifiedFolder:
    """The images of a folder as each defence shows them: files that are whole or not there, and a manifest.

    Images are purified one by one, so that no result hangs on what else is there, nor on its size. Each file
    holds the SHA-256 of the one it was made of, by which it is known when the work goes on. An image's noise
    belongs to its name (`noise_of`): what is purified under one name, such as an image before and after an
    attack, gets the same.

    Args:
        images: Where the images are, anywhere below it.
        out: Where the purified ones go.
        protocol: Whose defences, draws and seed count.
        given: What they were made of, for the manifest.

    Raises:
        InputError: If there are no images or no defences, or `out` is below `images` or holds anything but
            these images purified by the same settings.
    """

    def __init__(self, images: Path, out: Path, protocol: AttackAndPurify, given: Mapping[str, Any]) -> None:
        self.images, self.out, self.protocol = images, out, protocol
        self.manifest = out / "manifest.json"
        shown = [(one.defence, one.draws) for one in protocol.plan.conditions]
        self.draws = {defence: draws for defence, draws in shown if defence is not None}
        if not self.draws:
            raise InputError(
                "there is nothing to purify with; expected protocol.purifier with noise_levels above 0, or "
                "protocol.defences."
            )
        self.files = images_by_name(images, _REMEDY)
        if out.resolve().is_relative_to(images.resolve()):
            raise InputError(
                f"--out={out} lies in --images={images}, whose images are purified. Set --out to another "
                "folder."
            )
        for path in self.files.values():
            image_size(path)  # which refuses what is no image
        self._describe(given)
        self._check_same_work()

    def _describe(self, given: Mapping[str, Any]) -> None:
        purifiers: dict[str, nn.Module | None] = {**self.protocol.defences.named}
        facts = provenance({"purifier": self.protocol.purifier, **purifiers})
        defences = {
            str(defence): {**(asdict(defence.level) if defence.level else {}), "draws": draws}
            for defence, draws in self.draws.items()
        }
        settings = {**given, "shown": defences, "weights": facts["weights"]}
        self.settings = json.loads(json.dumps(settings))  # as they are read again
        self._facts = {"images": _WRITTEN, "noise": _NOISE, "versions": facts["versions"]}

    def _check_same_work(self) -> None:
        if not self.out.exists() or all(path.suffix == PARTIAL for path in self.out.iterdir()):
            return
        try:
            before = json.loads(self.manifest.read_text())["settings"]
            other = [name for name, value in self.settings.items() if before[name] != value]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise InputError(
                f"{self.out} is not empty and has no manifest.json of purified images ({error!r}). Set --out "
                "to another folder."
            ) from error
        if other:
            was, now = (json.dumps(settings[other[0]]) for settings in (before, self.settings))
            raise InputError(
                f"{self.out} holds images purified by other settings, {', '.join(other)}: {was} before, "
                f"{now} now. Set --out to another folder, or purify as before."
            )

    def plan(self) -> str:
        """Say what there is to do, what it costs, and how many files of it are there already."""
        named = ", ".join(f"{_named(defence)} x {draws}" for defence, draws in self.draws.items())
        views = [self._place(name, *view) for name in self.files for view in self._views]
        calls = sum(draws * self.protocol.defences.calls(one) for one, draws in self.draws.items())
        there = sum(path.exists() for path in views)
        return (
            f"{number_of_images(len(self.files))}, each through {named}: {len(views)} files, "
            f"{len(self.files) * calls} network calls. {there} of the files are there already."
        )

    def write(self, device: torch.device, console: Console) -> int:
        """Purify what is not purified yet, and write the manifest.

        Args:
            device: Where the networks are run.
            console: Where progress is shown.

        Returns:
            The number of files written.

        Raises:
            InputError: Naming an image that cannot be read or purified.
        """
        self._say(complete=False, files={})
        self.protocol.place(device, torch.float32)
        written, files = 0, {}
        with repeatable(device), torch.no_grad():
            for name in told(list(self.files), "Purifying", console, "images"):
                source = sha256_of(self.files[name])
                written += self._purify(name, source, device)
                files[name] = self._entry(name, source)
        remove_partial(self.out)
        self._say(complete=True, files=files)
        return written

    def _purify(self, name: str, source: str, device: torch.device) -> int:
        """Write of one image what is lacking, and return how many files that is."""
        lacking = [view for view in self._views if source_of(self._place(name, *view)) != source]
        if lacking:
            image = (read_image(self.files[name]).float() / 255)[None].to(device)
            for view in lacking:
                write_png(self._shown(name, image, *view), self._place(name, *view), source, _FULL)
        return len(lacking)

    def _shown(self, name: str, image: Tensor, defence: Defence, draw: int) -> Tensor:
        """Return an image `[1, 3, H, W]` as a defence shows it, `[3, H, W]`."""
        streams = Streams(self.protocol.seed, (noise_of(name),), (self.protocol.purpose, draw))
        try:
            purified = self.protocol.defences.purify(defence, image, streams)
        except InputError:
            raise
        except Exception as error:  # of any network, given an image of any size
            size = f"{image.shape[2]} x {image.shape[3]}"
            raise InputError(
                f"{self.files[name]} of {size} pixels cannot be purified by {defence} "
                f"({type(error).__name__}: {error}). Resize it, or take it out of the folder."
            ) from error
        if not purified.isfinite().all():
            raise InputError(
                f"{self.files[name]} purified by {defence} is not finite; check the purifier's network."
            )
        return purified[0]

    @property
    def _views(self) -> list[tuple[Defence, int]]:
        """How each image is shown: each defence with the number of each draw."""
        return [(defence, draw) for defence, draws in self.draws.items() for draw in range(draws)]

    def _place(self, name: str, defence: Defence, draw: int) -> Path:
        return self.out / str(defence) / str(draw) / f"{name}.png"

    def _entry(self, name: str, source: str) -> dict[str, Any]:
        places = [self._place(name, *view) for view in self._views]
        return {
            "file": self.files[name].relative_to(self.images).as_posix(),
            "sha256": source,
            "noise": noise_of(name),
            "purified": {path.relative_to(self.out).as_posix(): sha256_of(path) for path in places},
        }

    def _say(self, complete: bool, files: Mapping[str, Any]) -> None:
        said = {"settings": self.settings, **self._facts, "complete": complete, "files": files}
        with writing(self.out, _FULL):
            self.out.mkdir(parents=True, exist_ok=True)
        with whole_file(self.manifest, _FULL) as file:
            file.write(json.dumps(said, indent=1).encode())


def noise_of(name: str) -> int:
    """Return which image's noise an image of a folder has: that of the number its name is, or its own.

    Args:
        name: The file's path below the folder, without suffix.
    """
    place = place_of(name)
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) if place is None else place


def _named(defence: Defence) -> str:
    return f"{defence} (sigma {defence.level.sigma:.3g})" if defence.level else str(defence)
