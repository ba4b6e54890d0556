"""A run among others: its numbers relative to its own clean utility, and what differences are made of."""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property

import pyarrow.compute as pc
from torch import Tensor

import dds.tasks
from dds.batch import UNTOUCHED
from dds.errors import InputError
from dds.metrics.intervals import interval
from dds.reports.figures.comparison import Estimate, Outcome
from dds.results.interrupted import find_task
from dds.results.layout import Entry, Line, Summary, is_attacked
from dds.results.source import gaps, open_samples, read_run, read_samples, whole_cells
from dds.results.standing import Comparison, Standing
from dds.results.summary import resampled_utility
from dds.runs.run_folder import RunFolder
from dds.tasks import BaseTask


class ComparedRun:
    """A run that is laid over others.

    Args:
        folder: The run's folder.
        name: What the page calls it.

    Attributes:
        summary: The content of its `summary.json`; of an interrupted run as far as it got.
        comparison: Its defences, compared.
        config: The content of its `config.yaml`.
        digest: What tells its images from others, where that is known.
        task: Whose metrics it reports.
        gaps: What was planned and is not there, in words.
        images: Indices of the images of which everything was measured, rising.

    Raises:
        InputError: If the folder cannot be used, see `read_run`, or its task cannot be found.
    """

    def __init__(self, folder: RunFolder, name: str) -> None:
        self.name = name
        self.summary = read_run(folder)
        self.comparison = Comparison(self.summary)
        self.config, self.digest = folder.read_config(), folder.read_digest()
        self.task = _task(folder, self.summary)
        self.gaps = gaps(folder, self.summary)
        self.images = _whole_images(folder, self.summary)
        self._samples = open_samples(folder, self.summary).among(self.images)
        self._utilities: dict[str, Tensor] = {}

    @property
    def lines(self) -> list[Line]:
        """The attacks that "worst" is chosen from, and what their attackers see."""
        layout = self.comparison.layout
        attacked = (any(entry and is_attacked(entry) for entry in layout.row(line)) for line in layout.lines)
        return [line for line, chosen in zip(layout.lines, attacked, strict=True) if chosen]

    def utility(self, key: str) -> Tensor:
        """Return a condition's utility on all images and on each resampled data set, `[1 + R]`."""
        if key not in self._utilities:
            rows = self._samples.of(key)
            self._utilities[key] = resampled_utility(self.task, rows)  # of one seed: they pair
        return self._utilities[key]

    def kept(self, entry: Entry) -> Estimate:
        """Return what a condition keeps, in percent of the utility of clean images without defence.

        Of an error, which grows as utility is lost, it is the part that the clean error is of the
        condition's.
        """
        drop = entry["utility_drop"]
        return {
            end: _kept(drop[other], self.summary["lower_is_better"])
            for end, other in (("value", "value"), ("low", "high"), ("high", "low"))
        }

    @cached_property
    def outcomes(self) -> list[Outcome]:
        """Return what each defence keeps of clean images and under its worst attack, in percent."""
        return [
            Outcome(
                one.clean,
                self.kept(one.clean),
                one.worst and self.kept(one.worst),
                self._gain(one),
                one.worst,
            )
            for one in self.comparison.standings
        ]

    def utilities(self) -> list[Outcome]:
        """Return the same in the metric's own unit."""
        value = self.comparison.utility
        return [
            Outcome(one.clean, value(one.clean), one.worst and value(one.worst), worst=one.worst)
            for one in self.comparison.standings
        ]

    def _gain(self, standing: Standing) -> Estimate | None:
        """Return how much more a defence keeps under its worst attack than no defence under its own.

        Both are resampled alike; which attack is worst is chosen once, on all images.
        """
        bare = self.comparison.undefended.worst
        if standing.worst is None or bare is None:
            return None
        return interval(self._shares(standing.worst["key"]) - self._shares(bare["key"]))

    def _shares(self, key: str) -> Tensor:
        ends = self.utility(key), self.utility(UNTOUCHED)
        numerator, denominator = reversed(ends) if self.summary["lower_is_better"] else ends
        return 100 * numerator / denominator


def read_runs(folders: Sequence[RunFolder]) -> list[ComparedRun]:
    """Read the runs that are to be compared.

    Raises:
        InputError: If there are fewer than two, or one is there twice, or cannot be used.
    """
    paths = [folder.full_place for folder in folders]
    if len(paths) < 2:
        raise InputError(
            f"a comparison of {len(paths)} runs; expected two or more. Name their folders, "
            "runs/<experiment>/<name>."
        )
    if twice := [path for path, times in Counter(paths).items() if times > 1]:
        raise InputError(f"{', '.join(twice)} is named more than once; name each run once.")
    return [ComparedRun(folder, name) for folder, name in zip(folders, _names(paths), strict=True)]


def _names(paths: Sequence[str]) -> list[str]:
    """Return the ends of paths, at least `<experiment>/<name>`, so long that each is another."""
    parts = [path.split("/") for path in paths]
    for length in range(2, max(map(len, parts)) + 1):
        names = ["/".join(some[-length:]) for some in parts]
        if len(set(names)) == len(names):
            break
    return names


def _task(folder: RunFolder, summary: Summary) -> type[BaseTask]:
    try:
        return find_task(folder)
    except InputError:  # what a function builds has a name of its own
        known: type[BaseTask] | None = getattr(dds.tasks, summary["task"], None)
        if known is None:
            raise
        return known


def _whole_images(folder: RunFolder, summary: Summary) -> list[int]:
    """Return the images that were measured under all conditions, rising."""
    cells = whole_cells(summary, read_samples(folder, []))
    images = cells.group_by("index").aggregate([("condition", "count")])
    whole = images.filter(pc.equal(images["condition_count"], len(summary["conditions"])))["index"]
    if not len(whole):
        raise InputError(f"{folder.path} has no image that was measured under all conditions. Run --resume.")
    return sorted(whole.to_pylist())


def _kept(drop: float | None, lower_is_better: bool) -> float | None:
    if drop is None:
        return None
    if not lower_is_better:
        return 100 * (1 - drop)
    return 100 / (1 + drop) if drop > -1 else None
