"""What a report is made of: the files of a run folder, checked, and what they lack."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dds.batch import UNTOUCHED
from dds.errors import InputError
from dds.numbers import number_of_images
from dds.results.interrupted import read_interrupted
from dds.results.layout import Summary
from dds.runs.examples import Examples, read_examples
from dds.runs.run_folder import SCHEMA, RunFolder
from dds.runs.samples import COMBINED, Samples, read_rows

_KEYS = ("task", "data", "images", "seed", "utility", "lower_is_better", "versions", "weights", "conditions")
_ENTRY = ("key", "attack", "attacker_sees", "defence", "t", "sigma", "draws", "metrics", "utility_drop")
_MIXED = "It holds files of more than one run; put them back, or evaluate again into a folder of its own."


def read_run(folder: RunFolder) -> dict[str, Any]:
    """Read a run's summary and check that the folder is whole and of one run.

    Raises:
        InputError: If a file is missing or damaged, of another schema, or of another run.
    """
    if not folder.summary.is_file():
        found = read_interrupted(folder)
        _check_run(folder, found)
        return found
    try:
        summary: Any = folder.read_summary()
    except json.JSONDecodeError as error:
        raise InputError(f"{folder.summary} is damaged ({error}). Remove it and run --resume.") from error
    if not isinstance(summary, dict):
        raise InputError(f"{folder.summary} holds a {type(summary).__name__}, not a summary. Run --resume.")
    _check_run(folder, summary)
    return summary


def _check_run(folder: RunFolder, summary: Summary) -> None:
    """Check that the files of a folder are there and belong to a summary.

    Raises:
        InputError: As `read_run`.
    """
    if summary.get("schema") != SCHEMA:
        raise InputError(
            f"{folder.path} has a summary of schema {summary.get('schema')!r}; this version of dds reads "
            f"{SCHEMA}. Use the version that wrote it (`versions` in summary.json), or evaluate again."
        )
    if absent := [key for key in _KEYS if key not in summary] or _lacking(summary["conditions"]):
        raise InputError(f"{folder.summary} lacks {', '.join(absent)}. Remove it and run --resume.")
    if not folder.config.is_file():
        raise InputError(f"{folder.path} lacks config.yaml. Restore it, or evaluate again.")
    _check_clean(folder, summary)
    _check_config(folder, summary)
    _check_conditions(
        folder, summary, "samples", set(read_samples(folder, [])["condition"].unique().to_pylist())
    )
    shown = {name.split(":", 1)[1] for name in read_pictures(folder) if ":" in name}
    _check_conditions(folder, summary, "examples", shown)


def _lacking(conditions: Sequence[Mapping[str, Any]]) -> list[str]:
    return sorted({f"conditions.{key}" for entry in conditions for key in _ENTRY if key not in entry})


def _check_clean(folder: RunFolder, summary: Summary) -> None:
    keys = {entry["key"] for entry in summary["conditions"]}
    needed = {f"clean/-/{entry['defence'] or 't0'}" for entry in summary["conditions"]} | {UNTOUCHED}
    if absent := sorted(needed - keys):
        raise InputError(
            f"{folder.summary} lacks {', '.join(absent)}, to which the others are compared. "
            "Remove it and run --resume."
        )


def _check_config(folder: RunFolder, summary: Summary) -> None:
    text, config = folder.config.read_text(), folder.read_config()
    said = {f"weights of {name}": _hash(text, name) for name in summary["weights"]}
    said |= {"seed": config["protocol"]["seed"]}
    for part in ("task", "data"):
        name = config[part]["class_path"].rsplit(".", 1)[-1]
        said |= {part: name} if name[0].isupper() else {}  # what a function builds has a name of its own
    known = {f"weights of {name}": value for name, value in summary["weights"].items()}
    known |= {part: summary[part] for part in ("task", "data", "seed")}
    if other := [f"{key} {value} and {known[key]}" for key, value in said.items() if value != known[key]]:
        raise InputError(
            f"config.yaml and summary.json in {folder.path} disagree: {'; '.join(other)}. {_MIXED}"
        )


def _hash(config: str, network: str) -> str | None:
    """Return the hash of a network's weights in the head of `config.yaml`."""
    start = f"# weights: {network} "
    found = [line.removeprefix(start) for line in config.splitlines() if line.startswith(start)]
    return found[0] if found else None


def _check_conditions(folder: RunFolder, summary: Summary, file: str, found: set[str]) -> None:
    keys = {entry["key"] for entry in summary["conditions"]}
    if strange := sorted(found - keys):
        raise InputError(
            f"{file} in {folder.path} speak of {len(strange)} conditions that summary.json does not know, "
            f"such as {strange[0]}. {_MIXED}"
        )


def read_samples(folder: RunFolder, columns: Sequence[str] | None = None) -> pa.Table:
    """Read what was measured, each draw; of an interrupted run what there is so far.

    Args:
        folder: The run's folder.
        columns: Statistics that are wanted, none of them a list where the run is large; default: all.

    Raises:
        InputError: If there is nothing, or it is damaged.
    """
    files = [folder.samples] if folder.samples.is_file() else sorted(folder.parts.glob("*.parquet"))
    try:
        rows = read_rows(files, columns)
    except pa.ArrowException as error:
        raise InputError(f"{files[0]} does not hold samples: {error}. {_MIXED}") from error
    if not len(rows):
        raise InputError(f"{folder.path} lacks a whole samples.parquet: nothing is measured. Evaluate again.")
    return rows.filter(pc.not_equal(rows["draw"], COMBINED))


def open_samples(folder: RunFolder, summary: Summary) -> Samples:
    """Return what reads the samples by condition; of an interrupted run what there is so far.

    Raises:
        InputError: As `read_samples`.
    """
    return folder.open_tables([entry["key"] for entry in summary["conditions"]])[0]


def examples_file(folder: RunFolder) -> Path:
    """Return the file of the example images; of an interrupted run the first that was written.

    Raises:
        InputError: If there is none.
    """
    found = [path for path in (folder.examples, *sorted(folder.parts.glob("*.npz"))) if path.is_file()]
    if not found:
        raise InputError(f"{folder.path} lacks examples.npz. Restore it, or evaluate again.")
    return found[0]


def read_pictures(folder: RunFolder) -> Examples:
    """Read the example images.

    Raises:
        InputError: If they are damaged.
    """
    path = examples_file(folder)
    if "original" not in (examples := read_examples([path])):
        raise InputError(f"{path} is damaged. Restore it, or evaluate again.")
    return examples


def gaps(folder: RunFolder, summary: Summary) -> list[str]:
    """Say in words what was planned and is not there: attacks, defences, images and rows.

    Args:
        folder: The run's folder.
        summary: The content of its `summary.json`.
    """
    rows = read_samples(folder, [])
    return [*_unfinished(folder, summary, rows), *_not_run(folder, summary), *_rows_lost(summary, rows)]


def _unfinished(folder: RunFolder, summary: Summary, rows: pa.Table) -> Iterator[str]:
    measured = len(rows["index"].unique())
    planned = re.search(r"^# data: images (\d+)$", folder.config.read_text(), re.MULTILINE)
    counted = f"{measured} of {planned[1]} images" if planned else number_of_images(measured)
    if not folder.samples.is_file():
        yield f"The run was interrupted: there are rows of {counted}. --resume goes on with it."
    if "missing" in summary:
        yield f"Not measured yet: {summary['missing']}."
    if measured != summary["images"]:
        yield f"The numbers are of {number_of_images(summary['images'])}; there are rows of {measured}."


def _not_run(folder: RunFolder, summary: Summary) -> Iterator[str]:
    protocol = folder.read_config()["protocol"]
    done = {entry["attack"].split("@")[0] for entry in summary["conditions"]}
    done |= {entry["defence"] for entry in summary["conditions"]}
    levels = protocol.get("noise_levels") if protocol.get("purifier") else None
    planned = {kind: list(protocol.get(kind) or []) for kind in ("attacks", "controls", "defences")}
    planned["noise levels"] = [f"t{given}" for given in levels or [] if isinstance(given, int) and given]
    for kind, names in planned.items():
        if absent := [name for name in names if name not in done]:
            yield f"{kind} of config.yaml without any result: {', '.join(absent)}."


def _rows_lost(summary: Summary, rows: pa.Table) -> Iterator[str]:
    """Find conditions of which some image lacks some draw."""
    images = len(rows["index"].unique())
    done = Counter(whole_cells(summary, rows)["condition"].to_pylist())
    for entry in summary["conditions"]:
        if done[entry["key"]] < images:
            yield f"{entry['key']}: all rows are there for {done[entry['key']]} of {images} images only."


def whole_cells(summary: Summary, rows: pa.Table) -> pa.Table:
    """Return each `condition` and `index` of which all draws are there."""
    draws = {entry["key"]: entry["draws"] for entry in summary["conditions"]}
    cells = rows.group_by(["condition", "index"]).aggregate([("draw", "count")])
    known = pc.index_in(cells["condition"], value_set=pa.array(draws, pa.string()))
    return cells.filter(pc.equal(cells["draw_count"], pc.take(pa.array(draws.values()), known)))
