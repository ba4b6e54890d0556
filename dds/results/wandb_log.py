"""A run on Weights & Biases: every metric as a curve over the noise level."""

import os
from collections.abc import Mapping, Sequence
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import wandb
import yaml

from dds.results.run_folder import RunFolder

_PATIENCE = 30  # seconds for W&B to answer; the results are on disk already


def log_to_wandb(folder: RunFolder, summary: Mapping[str, Any], project: str) -> str:
    """Send a finished run to W&B, or keep it on disk where there is no key.

    `noise_level` is the step of every metric, so that a dashboard's default panels are curves over it.

    Args:
        folder: The run's folder; W&B's own files go below it.
        summary: The content of `summary.json`.
        project: W&B project.

    Returns:
        One line for the user: where the run is to be seen.
    """
    run, why_offline = _start(folder, summary, project)
    run.define_metric("noise_level")
    run.define_metric("*", step_metric="noise_level")
    *steps, last = _steps(summary["conditions"])
    for step in steps:
        run.log(step)
    run.log({**last, **{path.stem: wandb.Image(str(path)) for path in folder.figures.glob("*.png")}})
    run.summary.update(_named(summary["conditions"]))
    run.finish()
    if why_offline:
        return f"W&B: offline, {why_offline}; send it with: wandb sync {Path(run.dir).parent}"
    return f"W&B: {run.url}"


def _start(folder: RunFolder, summary: Mapping[str, Any], project: str) -> tuple[wandb.Run, str]:
    """Start a run, online if that is possible; also return why it is not."""
    facts = {name: summary[name] for name in ("versions", "weights")}
    options: dict[str, Any] = {
        "project": project,
        "name": folder.path.name,
        "group": folder.path.parent.name,
        "tags": [summary["task"], summary["data"]],
        "config": {**yaml.safe_load(folder.config.read_text()), **facts},
        "dir": folder.path,
        "settings": wandb.Settings(silent=True, init_timeout=_PATIENCE),
    }
    if not _has_key():
        return wandb.init(mode="offline", **options), "no key"
    try:
        return wandb.init(mode="online", **options), ""
    except wandb.Error as error:
        return wandb.init(mode="offline", **options), f"W&B did not answer ({str(error).splitlines()[0]})"


def _steps(conditions: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """Return one step for each noise level, 0 for no defence: `<attack>/<view>/<metric>` and its interval."""
    steps: dict[int, dict[str, float]] = {}
    for entry in sorted(conditions, key=lambda entry: entry["t"] or 0):
        if entry["t"] is not None or entry["defence"] is None:
            level = entry["t"] or 0
            step = steps.setdefault(level, {"noise_level": level, "sigma": entry["sigma"] or 0.0})
            step.update(_values(entry, f"{entry['attack']}/{entry['attacker_sees']}"))
    return list(steps.values())


def _named(conditions: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return what has no place on the axis of noise levels: `<condition>/<metric>` of the named defences."""
    named = [entry for entry in conditions if entry["t"] is None and entry["defence"] is not None]
    return {name: value for entry in named for name, value in _values(entry, entry["key"]).items()}


def _values(entry: Mapping[str, Any], prefix: str) -> dict[str, float]:
    found = {}
    for name, value in {**entry["metrics"], "utility_drop": entry["utility_drop"]}.items():
        for part, suffix in (("value", ""), ("low", "_low"), ("high", "_high")):
            if value is not None and value[part] is not None:
                found[f"{prefix}/{name}{suffix}"] = value[part]
    return found


def _has_key() -> bool:
    if os.environ.get("WANDB_MODE", "online") != "online":
        return False
    host = urlparse(wandb.Settings().base_url).hostname or ""
    try:
        known = netrc().authenticators(host)
    except (FileNotFoundError, NetrcParseError):
        known = None
    return bool(os.environ.get("WANDB_API_KEY") or known)
