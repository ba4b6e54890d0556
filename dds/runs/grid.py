from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dds.errors import InputError
from dds.protocol import Condition

Cells = NDArray[np.bool_]
"""A mark on each condition and image, `[C, I]`."""

_SHOWN = 5  # conditions and images that a message names


@dataclass(frozen=True)
class Piece:
    """Work that is done in one go.

    Attributes:
        conditions: What is measured,
        images: of these images, by their indices.
        rows: Whether what is measured is kept.
        examples: Whether the first image is among them, which is shown in the figures.
    """

    conditions: tuple[Condition, ...]
    images: tuple[int, ...]
    rows: bool
    examples: bool

    @cached_property
    def members(self) -> frozenset[int]:
        """The images, to look one up."""
        return frozenset(self.images)


class Grid:
    """Every image x condition x draw that a run measures.

    Args:
        conditions: In the order of the tables.
        images: Indices of the test images, rising.
    """

    def __init__(self, conditions: Sequence[Condition], images: Sequence[int]) -> None:
        self.conditions, self.images = list(conditions), list(images)
        self.keys = [condition.key for condition in self.conditions]
        slots = 1 + max(condition.draws for condition in self.conditions)
        self._expected = np.array([_expected(condition, slots) for condition in self.conditions])
        self._shape = (len(self.conditions), len(self.images), slots)

    def missing(self, rows: pa.Table) -> Cells:
        """Find the cells of which some draw, or the combined decision over all draws, is not there.

        Args:
            rows: As `read_rows` returns them.

        Returns:
            `[C, I]`

        Raises:
            InputError: If something is there twice, or belongs to no cell.
        """
        counts = np.bincount(self._places(rows), minlength=np.prod(self._shape)).reshape(self._shape)
        if (counts > 1).any():
            raise self._doubled(rows)
        return np.asarray(((counts == 0) & self._expected[:, None]).any(axis=2))  # (C, I) of (C, I, slots)

    def pieces(self, cells: Cells) -> list[Piece]:
        """Turn cells to be measured into work, each cell once: images of the same conditions together."""
        groups: dict[tuple[int, ...], list[int]] = {}
        for image, marked in zip(self.images, cells.T, strict=True):
            groups.setdefault(tuple(np.flatnonzero(marked).tolist()), []).append(image)
        return [self.piece(conditions, images) for conditions, images in groups.items() if conditions]

    def piece(self, conditions: Iterable[int], images: Iterable[int], rows: bool = True) -> Piece:
        """Make a piece of work of the places of its conditions and of images."""
        chosen = tuple(images)
        examples = self.images[0] in chosen
        return Piece(tuple(self.conditions[place] for place in conditions), chosen, rows, examples)

    def others(self, images: Sequence[int], processes: int) -> set[int]:
        """Return all images but these and, where there are more processes, some to occupy each of them.

        Raises:
            InputError: If there are fewer images than processes altogether.
        """
        if processes > len(self.images):
            raise InputError(
                f"{processes} processes share {len(self.images)} test images; expected at least one each. "
                "Lower trainer.devices."
            )
        others = sorted(set(self.images) - set(images))
        return set(others[max(0, processes - len(images)) :])

    def describe(self, cells: Cells) -> str:
        """Name some cells, e.g. `pgd/none/t0 of images 3, 7; clean/-/t0 of images 3`."""
        of_images = [
            f"{key} of images {_some(str(self.images[place]) for place in np.flatnonzero(marked))}"
            for key, marked in zip(self.keys, cells, strict=True)
            if marked.any()
        ]
        return _some(of_images, "; ")

    def _places(self, rows: pa.Table) -> NDArray[np.int64]:
        """Number each row by its cell and draw; combined decisions come last."""
        condition = pc.index_in(rows["condition"], value_set=pa.array(self.keys, pa.string()))
        image = pc.index_in(rows["index"], value_set=pa.array(self.images, pa.int64()))
        strange = rows.filter(pc.or_(pc.is_null(condition), pc.is_null(image)))
        if len(strange):
            (first,) = strange.slice(0, 1).to_pylist()
            raise InputError(
                f"{first['part']} holds image {first['index']} under {first['condition']}, which is not "
                "part of this run. Take the file away, or start anew with another --name."
            )
        draw = rows["draw"].to_numpy() % self._shape[2]
        return np.asarray(np.ravel_multi_index((condition.to_numpy(), image.to_numpy(), draw), self._shape))

    def _doubled(self, rows: pa.Table) -> InputError:
        _, first, counts = np.unique(self._places(rows), return_index=True, return_counts=True)
        (row,) = rows.take(first[counts > 1][:1]).to_pylist()
        same = pc.and_(pc.equal(rows["index"], row["index"]), pc.equal(rows["condition"], row["condition"]))
        parts = sorted(set(rows.filter(same)["part"].to_pylist()))
        return InputError(
            f"image {row['index']} under {row['condition']} was measured twice, in {' and '.join(parts)}; "
            "did two jobs do the same work? Delete all but one of these files and go on with --resume."
        )


def _expected(condition: Condition, slots: int) -> list[bool]:
    """Mark the draws of a condition, and in the last place whether there is a decision over all of them."""
    combined = condition.draws > 1 and not condition.fixed_noise
    return [draw < condition.draws for draw in range(slots - 1)] + [combined]


def _some(names: Iterable[str], separator: str = ", ") -> str:
    listed = list(names)
    more = [f"and {len(listed) - _SHOWN} more"] if len(listed) > _SHOWN else []
    return separator.join(listed[:_SHOWN] + more)
