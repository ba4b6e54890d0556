"""What can be said of a run that was interrupted."""

import json
from dataclasses import asdict
from importlib import import_module
from shlex import quote
from typing import Any

import numpy as np

from dds.errors import InputError
from dds.protocol import Condition
from dds.results.summary import summarise
from dds.runs.grid import Grid
from dds.runs.run_folder import RunFolder
from dds.tasks import BaseTask


def read_interrupted(folder: RunFolder) -> dict[str, Any]:
    """Summarise as much of an unfinished run as is there: images with all rows of what has any.

    Returns:
        What `summary.json` would hold, of those images and conditions, and what is `missing` in words.

    Raises:
        InputError: If the folder is no run's, or nothing in it is whole.
    """
    head, grid = _read_plan(folder)
    missing = grid.missing(folder.read(grid))
    begun = np.flatnonzero(~missing.all(axis=1))
    images = np.asarray(grid.images)[np.flatnonzero(~missing[begun].any(axis=0))]
    if 0 not in begun or not len(images):
        raise InputError(
            f"{folder.path} was interrupted before any image was measured under all conditions. Go on by the "
            f"command that started it, with --resume --name={quote(folder.path.name)}."
        )
    conditions = [grid.conditions[place] for place in begun]
    samples, votes = folder.open_tables(grid.keys)
    among = samples.among(images), None if votes is None else votes.among(images)
    entries = summarise(find_task(folder), conditions, *among, head["seed"])
    measured = {"images": len(images), **asdict(folder.spent()), "conditions": entries}
    return {**head, **measured, "missing": grid.describe(missing)}


def _read_plan(folder: RunFolder) -> tuple[dict[str, Any], Grid]:
    """Return what was known of a run when it started."""
    try:
        plan = json.loads(folder.plan.read_text())
        conditions = [Condition.from_dict(fields) for fields in plan["conditions"]]
        return dict(plan["head"]), Grid(conditions, plan["indices"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(
            f"{folder.path} holds no summary.json, and no plan.json of an interrupted run "
            f"({type(error).__name__}). Name the folder of a run, runs/<experiment>/<name>."
        ) from error


def find_task(folder: RunFolder) -> type[BaseTask]:
    """Find the task that a run's configuration names.

    Raises:
        InputError: If it cannot be imported, or is no task.
    """
    path = folder.read_config()["task"]["class_path"]
    module, _, name = path.rpartition(".")
    try:
        task = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"{folder.config} names a task that cannot be imported: {path}. Name its folder by PYTHONPATH=…"
        ) from error
    if not (isinstance(task, type) and issubclass(task, BaseTask)):
        raise InputError(f"{folder.config} names {path} as task; expected a subclass of dds.tasks.BaseTask.")
    return task
