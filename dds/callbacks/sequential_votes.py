from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from dds.batch import Batch
from dds.certificates import Asked, Ballot
from dds.noise import OwnStreams, Streams
from dds.tasks import BaseTask

Purify = Callable[[Tensor, Streams], Tensor]


class SequentialVotes:
    """Asks about the images of a batch by yes or no, each as often as it needs.

    An image that is decided at all radii draws no more; its place goes to further draws of the others, so
    that the networks always see batches of one size. Draw n of an image is the same noise whatever is drawn
    beside it, and its draws are counted in their order, so that its result depends on nothing else.

    Args:
        task: Whose questions are asked, see `BaseTask.yes_or_no`.
        batch: The images.
        purify: The defence: images `[B, 3, H, W]` and their streams to images.
        streams: Of the images.
        purpose: Of the noise; draw n is its child n.
        asked: Radii, alpha and the most draws.
        tell: Called with how many images are not decided, before each further draw.
    """

    def __init__(
        self,
        task: BaseTask,
        batch: Batch,
        purify: Purify,
        streams: Streams,
        purpose: str,
        asked: Asked,
        tell: Callable[[int], None] = lambda waiting: None,
    ) -> None:
        self._task, self._batch, self._purify, self._asked = task, batch, purify, asked
        self._streams, self._purpose, self._tell = streams, purpose, tell
        self._size = len(batch["image"])

    def count(self, decisions: Tensor) -> dict[str, Tensor]:
        """Count the answers on draws that are there, `[K, B, ...]`, and on as many more as are needed.

        Returns:
            For each question `<name>_yes`, `[B, R * Q]`, and `<name>_draws`, `[B, R]`, as `Ballot` has them;
            and `<name>_mean`, `[B]`, over the draws that were there.
        """
        first = [self._task.yes_or_no(decision, self._batch) for decision in decisions]
        answers = {name: torch.stack([_rows(one[name]) for one in first]) for name in first[0]}  # (K, B, Q)
        real = self._batch.get("real", self._size)
        each = [{name: of[:, place] for name, of in answers.items()} for place in range(real)]
        ballots = [self._ballots(own) for own in each]
        self._go_on(ballots, len(decisions))
        ballots += ballots[-1:] * (self._size - real)
        found = {f"{name}_mean": of.nanmean((0, 2)) for name, of in answers.items()}
        for name in answers:
            own = [ballot[name] for ballot in ballots]
            found[f"{name}_yes"] = torch.from_numpy(np.stack([one.yes.ravel() for one in own]))
            found[f"{name}_draws"] = torch.from_numpy(np.stack([one.draws for one in own]))
        return found

    def _ballots(self, answers: dict[str, Tensor]) -> dict[str, Ballot]:
        """Begin an image with the draws that are there, `[K, Q]` of each name."""
        ballots = {name: Ballot(~drawn[0].isnan().numpy(), self._asked) for name, drawn in answers.items()}
        for name, drawn in answers.items():
            for one in drawn.numpy():
                ballots[name].take(one)
        return ballots

    def _go_on(self, ballots: Sequence[dict[str, Ballot]], drawn: int) -> None:
        """Draw on for the images that are not decided."""
        numbers = [count(drawn) for _ in ballots]
        while waiting := [place for place, own in enumerate(ballots) if _is_open(own)]:
            self._tell(len(waiting))
            places = sorted(islice(_in_turn(waiting), self._size))
            answers = self._ask(places, [next(numbers[place]) for place in places])
            for row, place in enumerate(places):
                for name, ballot in ballots[place].items():
                    ballot.take(answers[name][row].numpy())

    @torch.no_grad()
    def _ask(self, places: list[int], numbers: list[int]) -> dict[str, Tensor]:
        """Ask about the images at some places, each on the draw of its number; `[B, Q]` of each name."""
        rows = torch.tensor(places)
        chosen = cast(Batch, {key: _chosen(value, rows) for key, value in cast(Any, self._batch).items()})
        own = tuple((self._purpose, number) for number in numbers)
        index = tuple(self._streams.index[place] for place in places)
        shown = self._purify(chosen["image"], OwnStreams(self._streams.seed, index, self._streams.path, own))
        answers = self._task.yes_or_no(self._task.decide_on(shown, chosen), chosen)
        return {name: _rows(of) for name, of in answers.items()}


def _in_turn(places: Sequence[int]) -> Iterator[int]:
    while True:
        yield from places


def _is_open(ballots: dict[str, Ballot]) -> bool:
    return any(ballot.is_open for ballot in ballots.values())


def _chosen(value: Any, rows: Tensor) -> Any:
    return value[rows.to(value.device)] if isinstance(value, Tensor) else value


def _rows(answers: Tensor) -> Tensor:
    """Return answers as `[B, Q]` on the CPU."""
    return answers.reshape(len(answers), -1).cpu()
