"""A finished run on the dashboards that the user named: W&B, or any of Lightning's loggers."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from PIL import Image

from dds.loggers.dashboard import Numbers, beside_curves, curves, flat, headline, settings
from dds.results.layout import Summary
from dds.results.standing import Comparison
from dds.runs.run_folder import RunFolder

Loggers = bool | Logger | list[Logger]
"""True: W&B; false: none; or loggers by their `class_path`, as for Lightning's trainer."""

_AT_ONCE = 1000  # metrics that MLflow takes in one call


def log_to(loggers: Loggers, folder: RunFolder, summary: Summary, project: str) -> Iterator[str]:
    """Show a finished run on dashboards.

    Whatever a logger raises becomes a warning: the results are on disk already.

    Args:
        loggers: Where to.
        folder: The run's folder.
        summary: The content of `summary.json`.
        project: The project on W&B, where `loggers` is true.

    Yields:
        One line for the user, of each logger.
    """
    for name, log in _chosen(loggers, folder, summary, project):
        try:
            yield f"{name}: {log()}"
        except Exception as error:  # loggers are other people's, and so are their errors
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            yield f"Warning: {name} failed ({reason}); the results are in {folder.path}"


def _chosen(
    loggers: Loggers, folder: RunFolder, summary: Summary, project: str
) -> Iterator[tuple[str, Callable[[], str]]]:
    if loggers is True:
        yield "W&B", partial(_send, folder, summary, project)
    elif loggers:
        for logger in loggers if isinstance(loggers, list) else [loggers]:
            yield type(logger).__name__, partial(_log, logger, folder, summary)


def _send(folder: RunFolder, summary: Summary, project: str) -> str:
    """Send to W&B; see `log_to_wandb`."""
    from dds.loggers.wandb_log import log_to_wandb  # W&B takes seconds to import

    return log_to_wandb(folder, summary, project)


def _log(logger: Logger, folder: RunFolder, summary: Summary) -> str:
    """Log what a logger takes, and return where it is to be seen."""
    if isinstance(logger, WandbLogger):
        return _fill(logger.experiment, folder, summary)
    _log_numbers(logger, folder, summary)
    _log_figures(logger, folder)
    logger.finalize("success")
    return str(logger.log_dir or logger.save_dir or logger.name)


def _fill(run: Any, folder: RunFolder, summary: Summary) -> str:
    """Fill a W&B run that the user has configured."""
    from dds.loggers.wandb_log import fill_run  # likewise

    try:
        run.config.update(settings(folder, summary))
        fill_run(run, folder, summary)
    finally:
        run.finish()
    return str(run.dir if run.offline else run.url)


def _log_numbers(logger: Logger, folder: RunFolder, summary: Summary) -> None:
    """Log settings, what the run comes to, and curves with t as the step."""
    numbers = headline(Comparison(summary)) | beside_curves(summary["conditions"])
    parameters = _plain(flat(settings(folder, summary)))
    if isinstance(logger, TensorBoardLogger):
        logger.log_hyperparams(parameters, _plain(numbers))  # its table of runs shows both
    else:
        logger.log_hyperparams(parameters)
        _log_metrics(logger, numbers, 0)
    for step in curves(summary["conditions"]):
        _log_metrics(logger, step, int(step["noise_level"]))


def _log_metrics(logger: Logger, numbers: Numbers, step: int) -> None:
    plain = list(_plain(numbers).items())
    for start in range(0, len(plain), _AT_ONCE):
        logger.log_metrics(dict(plain[start : start + _AT_ONCE]), step=step)


def _log_figures(logger: Logger, folder: RunFolder) -> None:
    figures = sorted(folder.figures.glob("*.png"))
    if isinstance(logger, TensorBoardLogger):
        for path in figures:
            pixels = np.array(Image.open(path).convert("RGB"))  # (H, W, 3)
            logger.experiment.add_image(f"figures/{path.stem}", pixels, dataformats="HWC")
    elif isinstance(logger, MLFlowLogger):
        for path in (*figures, folder.report):
            logger.experiment.log_artifact(logger.run_id, str(path))


def _plain(named: Mapping[str, Any]) -> dict[str, Any]:
    """Replace, in names, what MLflow does not take."""
    return {re.sub(r"[^\w/. -]", "_", name): value for name, value in named.items()}
