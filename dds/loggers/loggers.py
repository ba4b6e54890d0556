"""The dashboards that the user named: W&B, or any of Lightning's loggers."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from PIL import Image

from dds.errors import InputError
from dds.loggers.dashboard import (
    SECONDS,
    Dashboard,
    Numbers,
    beside_curves,
    curves,
    flat,
    headline,
    settings,
)
from dds.loggers.kept_id import LONGEST, REFUSED, is_name
from dds.loggers.wandb_run import WandbDashboard
from dds.results.layout import Summary
from dds.results.standing import Comparison
from dds.runs.run_folder import RunFolder

Loggers = bool | Logger | list[Logger]
"""True: W&B; false: none; or loggers by their `class_path`, as for Lightning's trainer."""

_AT_ONCE = 1000  # metrics that MLflow takes in one call


def dashboards(loggers: Loggers, project: str) -> list[Dashboard]:
    """Return what is to be told of a run.

    Args:
        loggers: Where to.
        project: The project on W&B, where `loggers` is true.

    Raises:
        InputError: If one is no logger, or W&B refuses the project's name.
    """
    if isinstance(loggers, bool):
        return [WandbDashboard(_checked(project))] if loggers else []
    return [_dashboard(logger, project) for logger in (loggers if isinstance(loggers, list) else [loggers])]


def _dashboard(logger: Logger, project: str) -> Dashboard:
    if not isinstance(logger, Logger):
        raise InputError(
            f"logger is {logger!r}; expected true for W&B, false, or one or a list of Lightning's loggers."
        )
    return WandbDashboard(project, logger) if isinstance(logger, WandbLogger) else LoggerDashboard(logger)


def _checked(project: str) -> str:
    if not is_name(project):
        raise InputError(
            f"project is {project!r}, which W&B refuses; expected 1 to {LONGEST} characters, none of them "
            f"{' '.join(sorted(REFUSED))}"
        )
    return project


class LoggerDashboard(Dashboard):
    """What a logger of Lightning takes.

    Args:
        logger: The logger.
    """

    def __init__(self, logger: Logger) -> None:
        self.name = type(logger).__name__
        self._logger = logger
        self._parameters: dict[str, Any] = {}

    def begin(self, folder: RunFolder, head: Summary, keys: Sequence[str]) -> None:
        """Log settings and plan."""
        self._folder = folder
        self._parameters = _plain(flat(settings(folder, head, keys)))
        if isinstance(self._logger, TensorBoardLogger):  # its table of runs takes them with the results only
            text = "\n".join(f"    {name}: {value}" for name, value in self._parameters.items())
            self._logger.experiment.add_text("settings", text)
        else:
            self._logger.log_hyperparams(self._parameters)
        self._logger.save()

    def log(self, numbers: Numbers) -> None:
        """Log how far the run is, with the seconds as the step."""
        self._log(numbers, int(numbers[SECONDS]))
        self._logger.save()

    def end(self, success: bool, summary: Summary | None = None, last: Numbers | None = None) -> str:
        """Log the results; of curves t is the step."""
        if last is not None:
            self.log(last)
        if summary is not None:
            self._log_results(summary)
            self._log_figures()
        self._logger.finalize("success" if success else "failed")
        return str(self._logger.log_dir or self._logger.save_dir or self._logger.name)

    def abandon(self) -> None:
        """Do nothing: its thread ends with the process."""

    def _log_results(self, summary: Summary) -> None:
        numbers = headline(Comparison(summary)) | beside_curves(summary)
        if isinstance(self._logger, TensorBoardLogger):
            self._logger.log_hyperparams(self._parameters, _plain(numbers))
        else:
            self._log(numbers, 0)
        for step in curves(summary):
            self._log(step, int(step["noise_level"]))

    def _log(self, numbers: Numbers, step: int) -> None:
        plain = list(_plain(numbers).items())
        for start in range(0, len(plain), _AT_ONCE):
            self._logger.log_metrics(dict(plain[start : start + _AT_ONCE]), step=step)

    def _log_figures(self) -> None:
        figures = sorted(self._folder.figures.glob("*.png"))
        if isinstance(self._logger, TensorBoardLogger):
            for path in figures:
                pixels = np.array(Image.open(path).convert("RGB"))  # (H, W, 3)
                self._logger.experiment.add_image(f"figures/{path.stem}", pixels, dataformats="HWC")
        elif isinstance(self._logger, MLFlowLogger):
            for path in (*figures, self._folder.report):
                self._logger.experiment.log_artifact(self._logger.run_id, str(path))


def _plain(named: Mapping[str, Any]) -> dict[str, Any]:
    """Replace, in names, what MLflow does not take."""
    return {re.sub(r"[^\w/. -]", "_", name): value for name, value in named.items()}
