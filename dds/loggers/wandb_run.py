"""A run on Weights & Biases, from the beginning of the work to its end, over all jobs of it."""

import atexit
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote
from typing import Any

from lightning.pytorch.loggers import WandbLogger

from dds.loggers.dashboard import SECONDS, Dashboard, Numbers, settings
from dds.loggers.kept_id import KeptId
from dds.results.layout import Summary
from dds.runs.run_folder import RunFolder

_SETTINGS = {
    "init_timeout": 30,  # seconds, likewise
    "finish_timeout": 300,
    "finish_timeout_raises": True,
    "console": "off",  # what is printed must not wait for it
}
_PATIENCE = 60.0  # seconds that the last job waits for another one to let go of the run
_TAG = 64  # characters that W&B takes


class WandbDashboard(Dashboard):
    """A run on W&B; kept on disk where W&B is not to be reached.

    Args:
        project: W&B project.
        logger: The user's own settings of the run, in the place of ours.
    """

    name = "W&B"

    def __init__(self, project: str, logger: WandbLogger | None = None) -> None:
        self._project, self._logger = project, logger
        self._run: Any = None
        self._mode = ""
        self._why_offline = ""
        self._defined = {SECONDS}

    def begin(self, folder: RunFolder, head: Summary, keys: Sequence[str]) -> None:
        """Start the run, or go on with it; if another job is at it, leave it to that."""
        import wandb  # takes seconds

        self._folder, self._head = folder, head
        self._config = settings(folder, head, keys)
        self._kept = KeptId(folder)
        # silent: nor does it ask for a key
        self._mode = wandb.setup(wandb.Settings(silent=True)).settings.mode
        self._join()

    def _join(self, patience: float = 0.0) -> bool:
        """Be the one that writes to the run, if that is possible."""
        if self._run is None and self._mode != "disabled" and self._kept.hold(patience):
            self._run = self._start()
            self._kept.keep(str(self._run.id))
        return self._run is not None

    def log(self, numbers: Numbers) -> None:
        """Add a row; join the run first, once others have left it."""
        if self._join():
            for name in numbers.keys() - self._defined:  # of several patterns W&B would take any
                self._run.define_metric(name, step_metric=SECONDS)
            self._defined |= numbers.keys()
            self._run.log(numbers)

    def end(self, success: bool, summary: Summary | None = None, last: Numbers | None = None) -> str:
        """Fill in the results, and finish.

        Raises:
            wandb.Error: If W&B fails after it has started the run.
        """
        if self._mode == "disabled":
            return "disabled"
        if summary is not None and not self._join(_PATIENCE):
            self._run = self._start()  # a run of its own, rather than none with the results
        if self._run is None:
            return "another job of this run shows it"
        try:
            if last is not None:
                self.log(last)
            with _data_below(self._folder.wandb):
                self._fill(summary)
                self._run.finish(exit_code=0 if success else 1)
        except TimeoutError:
            return f"it takes too long; send the rest with: {self._later()}"
        finally:
            self._kept.release()
        return self._place()

    def _fill(self, summary: Summary | None) -> None:
        from dds.loggers.wandb_log import fill_run  # likewise

        if summary is not None:
            fill_run(self._run, self._folder, summary)

    def _place(self) -> str:
        """Say where the run is to be seen, and what of it waits on this machine."""
        new = "; what was there before cannot be gone on with" if self._kept.damaged else ""
        if self._run.offline:
            why = f", {self._why_offline}" if self._why_offline else ""
            what = "all parts of it" if len(self._parts()) > 1 else "it"
            return f"offline{why}{new}; send {what} with: {self._later()}"
        before = f"; send what came before with: {self._later()}" if self._parts() else ""
        return f"{self._run.url}{new}{before}"

    def _parts(self) -> list[Path]:
        """Return the folders of the run that wait, one for each job; two of one second are numbered."""
        parts = Path(self._run.dir).parent.parent.glob(f"offline-run-*-{self._run.id}*")
        return [part for part in parts if not any(part.glob("*.synced"))]

    def _later(self) -> str:
        """Return the command that sends what is on this machine, of several jobs in their order."""
        if self._folder.place != str(self._folder.path):
            return f"wandb sync offline-run-*-{self._run.id}*, in a copy of {self._folder.place}/wandb"
        parts = self._parts() or [Path(self._run.dir).parent]
        if len(parts) > 1:
            return f"wandb sync {quote(str(parts[0].parent))}/offline-run-*-{self._run.id}*"
        return f"wandb sync {quote(str(parts[0]))}"

    def abandon(self) -> None:
        """Have W&B's own process end with this one, which would wait for it; `wandb sync` sends the rest."""
        atexit.register(_end_service)  # comes before what W&B has registered

    # The start

    def _start(self) -> Any:
        run = self._own() if self._logger is None else self._users(self._logger)
        run.define_metric(SECONDS)
        return run

    def _users(self, logger: WandbLogger) -> Any:
        """Start the run that the user has configured; an id that the user names is not changed."""
        logger._wandb_init["id"] = logger._wandb_init.get("id") or self._kept.id
        logger.experiment.config.update(self._config, allow_val_change=True)
        return logger.experiment

    def _own(self) -> Any:
        """Start a run, online if that is possible; note why it is not."""
        import wandb  # likewise

        options: dict[str, Any] = {
            "project": self._project,
            "name": self._folder.path.name,
            "group": self._folder.path.parent.name,
            "job_type": "evaluation",
            "tags": _tags(self._head, self._config),
            "config": self._config,
            "dir": self._folder.path,
            "reinit": "create_new",  # the caller's own run is none of ours
            "settings": {name: it for name, it in _SETTINGS.items() if name in wandb.Settings.model_fields},
        }
        if "WANDB_RUN_ID" not in os.environ:  # as under the agent of a sweep
            options |= {"id": self._kept.id, "resume": "allow"}
        if self._mode in ("offline", "dryrun"):
            self._why_offline = f"WANDB_MODE is {self._mode}"
        try:
            return _init(**options)
        except wandb.Error as error:
            self._why_offline = str(error).partition("\n")[0]
            return _init(mode="offline", **options)


def _init(**options: Any) -> Any:
    """Start a run; where W&B's own process has been ended in the meantime, with another one."""
    import wandb  # likewise

    try:
        return wandb.init(**options)
    except wandb.Error:
        raise
    except Exception:
        with suppress(Exception):  # it says goodbye to the process that is gone
            wandb.teardown()
        return wandb.init(**options)


@contextmanager
def _data_below(path: Path) -> Iterator[None]:
    """Have tables wait for `wandb sync` in the run folder, unless the user has named another place."""
    own = "WANDB_DATA_DIR" not in os.environ
    os.environ.setdefault("WANDB_DATA_DIR", str(path))
    try:
        yield
    finally:
        if own:
            del os.environ["WANDB_DATA_DIR"]


def _end_service() -> None:
    """End W&B's process, and take back that it is waited for; there is no public way."""
    setup = sys.modules.get("wandb.sdk.wandb_setup")
    with suppress(Exception):
        connection: Any = setup and setup._singleton._connection
        connection._cleanup()
        connection._proc._process.kill()


def _tags(head: Summary, config: Mapping[str, Any]) -> list[str]:
    """Return what runs are grouped by: task, data, network and purifier."""
    network, purifier = _at(config, "task", "init_args", "model"), _at(config, "protocol", "purifier")
    tags = [head["task"], head["data"], _name(network), _name(purifier)]
    return [tag[-_TAG:] for tag in dict.fromkeys(tags) if tag]


def _at(nested: Any, *path: str) -> Any:
    for name in path:
        nested = nested.get(name) or {}
    return nested


def _name(spec: Any) -> str:
    """Return the name of what a configuration builds; behind `pretrained`, that of the network."""
    if isinstance(spec, str):
        return spec.removeprefix("zoo:")
    arguments = {**_at(spec, "init_args"), **_at(spec, "dict_kwargs")}
    name = str(spec.get("class_path", "")).rsplit(".", 1)[-1]
    inner = {"pretrained": arguments.get("model"), "create_model": arguments.get("model_name")}.get(name)
    return _name(inner) if inner else name
