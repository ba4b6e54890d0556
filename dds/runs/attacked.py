"""The images that a run attacked, as files that other tools can read and check."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer

from dds.batch import Batch, View
from dds.callbacks import AttackAndPurify
from dds.errors import InputError
from dds.protocol import CLEAN, Craft
from dds.runs.job import Job
from dds.runs.png_files import sha256_of, write_png
from dds.runs.run_folder import RunFolder
from dds.runs.writer import ResultsWriter
from dds.whole_file import remove_partial

_WRITTEN = (
    "8-bit PNG, each value rounded to the nearest grey level, which may leave eps by half of one; what the "
    "run measured of exactly these images are the conditions <attack>@8bit of --protocol.eight_bit=true. "
    "clean: the images before any attack, as the data module resizes and crops them."
)


class AttackedFiles(Callback):
    """Writes each attacked image, and the clean ones beside them, below `attacked` in the run folder.

    An image is written by the process that attacks it, once, before what was measured of it. It lies in
    `<attack>/<what the attacker saw>/<name>.png`: `none`, a defence, or `fixed_noise/<defence>/<draw>`.

    Args:
        protocol: Whose attacks they are; before this one among the callbacks.
        writer: Of the run.
    """

    def __init__(self, protocol: AttackAndPurify, writer: ResultsWriter) -> None:
        self.protocol, self.writer = protocol, writer
        self._names: list[str] = []

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Learn what the images are called."""
        self._names = cast(Any, trainer).datamodule.image_names()

    def on_test_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Have each view written before the task is shown it."""
        batch["views"] = self._written(batch["views"], batch)

    def _written(self, views: Iterator[View], batch: Batch) -> Iterator[View]:
        crafts = _crafts(self.protocol)
        of_condition = {condition.key: craft for craft in crafts for condition in craft.conditions}
        for view in views:
            if (craft := of_condition.get(view.conditions[0])) is not None:
                self._write(view, batch, _folder(craft, view.first_draw))
            yield view

    def _write(self, view: View, batch: Batch, folder: str) -> None:
        index = batch["index"][: batch.get("real")].tolist()
        files, new = self.writer.folder, []
        for image, attacked in zip(index, view.attacked, strict=False):  # those behind fill the batch up
            path = files.attacked / folder / f"{self._names[image]}.png"
            if not files.has(path):
                write_png(attacked, path)
                new.append(path)
        files.send(*new)


def write_manifest(job: Job, folder: RunFolder) -> Path:
    """Write `attacked/manifest.json`: what the images are, and the SHA-256 of each.

    Args:
        job: Of the run, whose images are all there.
        folder: Its folder.

    Raises:
        InputError: If an image is not there.
    """
    names = job.data.image_names()
    wanted = [names[image] for image in job.grid.images]
    manifest = {
        "images": _WRITTEN,
        "seed": job.protocol.seed,
        **job.facts,
        "folders": {
            _folder(craft, draw): _entry(craft, job.protocol)
            | {"files": _hashes(folder, folder.attacked / _folder(craft, draw), wanted)}
            for craft in _crafts(job.protocol)
            for draw in range(craft.images)
        },
    }
    remove_partial(folder.attacked)
    path = folder.attacked / "manifest.json"
    folder.write_text(path, json.dumps(manifest, indent=1))
    return path


def _crafts(protocol: AttackAndPurify) -> list[Craft]:
    return [craft for craft in protocol.plan.crafts if craft.attack in (CLEAN, *protocol.attacks)]


def _folder(craft: Craft, draw: int) -> str:
    """Return where the images of a craft lie, those for each draw where the attacker knows its noise."""
    if craft.attack == CLEAN:
        return CLEAN
    if craft.fixed_noise:
        return f"{craft.attack}/fixed_noise/{craft.seen}/{draw}"
    return f"{craft.attack}/{craft.seen}"


def _entry(craft: Craft, protocol: AttackAndPurify) -> dict[str, Any]:
    shown = {"conditions": [condition.key for condition in craft.conditions]}
    if craft.attack == CLEAN:
        return shown
    attack = protocol.attack_of(craft)
    return {**shown, "norm": attack.norm, "eps": attack.eps}


def _hashes(run: RunFolder, folder: Path, names: list[str]) -> Mapping[str, str]:
    paths = {f"{name}.png": folder / f"{name}.png" for name in names}
    run.fetch(*paths.values())
    missing = [path for path in paths.values() if not path.is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(paths)} attacked images are gone, e.g. {missing[0]}. What was measured "
            "is complete; for the images run again under another --name."
        )
    return {name: sha256_of(path) for name, path in paths.items()}
