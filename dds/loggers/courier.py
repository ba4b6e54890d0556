from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from queue import Empty, Queue
from threading import Thread

from dds.loggers.dashboard import Dashboard, Numbers
from dds.results.layout import Summary
from dds.runs.run_folder import RunFolder


class Courier:
    """Brings a dashboard what there is to show, in a thread of its own, so that the work never waits for it.

    Of what waits while the dashboard is busy, the newest is kept. After the dashboard's first error it is
    brought nothing more. The thread keeps no process from ending.

    Args:
        dashboard: The dashboard.
        folder: The run's folder.
        head: What `summary.json` says of a run before anything is measured.
        keys: Of the conditions.
    """

    def __init__(self, dashboard: Dashboard, folder: RunFolder, head: Summary, keys: Sequence[str]) -> None:
        self._dashboard, self._folder = dashboard, folder
        self._waiting: Queue[Callable[[], str | None]] = Queue(1)
        self._said: str | None = None
        begin = partial(dashboard.begin, folder, head, keys)
        self._thread = Thread(target=self._work, args=(begin,), daemon=True, name=dashboard.name)
        self._thread.start()

    def bring(self, numbers: Numbers) -> None:
        """Have the dashboard show how far the run is."""
        self._put(partial(self._dashboard.log, numbers))

    def end(self, success: bool, summary: Summary | None = None, last: Numbers | None = None) -> None:
        """Have the dashboard show the results, and end; see `Dashboard.end`."""
        self._put(lambda: f"{self._dashboard.name}: {self._dashboard.end(success, summary, last)}")

    def wait(self, seconds: float) -> str:
        """Wait so long for the end, then give it up.

        Returns:
            One line for the user.
        """
        self._thread.join(seconds)
        if self._said is None:
            self._dashboard.abandon()
            return self._warning("does not answer, and is left behind")
        return self._said

    def _put(self, what: Callable[[], str | None]) -> None:
        with suppress(Empty):
            self._waiting.get_nowait()
        self._waiting.put_nowait(what)  # there is room: nobody else puts anything

    def _work(self, begin: Callable[[], None]) -> None:
        try:
            begin()
            said = None
            while said is None:
                said = self._waiting.get()()
        except Exception as error:  # dashboards are other people's, and so are their errors
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            said = self._warning(f"failed ({reason})")
            with suppress(Exception):
                self._dashboard.end(success=False)
        self._said = said

    def _warning(self, what: str) -> str:
        return f"Warning: {self._dashboard.name} {what}; the results are in {self._folder.place}"
