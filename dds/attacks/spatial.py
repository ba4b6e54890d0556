import torch
from torch import Tensor
from torch.nn import functional as F

from dds.attacks.apgd import APGD
from dds.attacks.base import TOLERANCE, whole
from dds.attacks.gradient import Weights
from dds.attacks.objectives.base import AttackedTask, Calls, Objective, Purify, Value
from dds.attacks.objectives.pullback import Pullback
from dds.attacks.optimiser import Optimiser
from dds.attacks.pgd import Best
from dds.batch import Batch
from dds.errors import InputError
from dds.noise import Streams
from dds.numbers import real

_STILL = 0.5  # the flow as an image: 0 is -bound, 1 is bound


class StAdv(Optimiser):
    """Moves pixels instead of changing them (Xiao et al., ICLR 2018, arXiv 1801.02612).

    Each pixel takes the image's value, bilinearly interpolated, at a place near by, at most `bound` away
    along each axis. Where from is found by `APGD`'s steps along the sign of the gradient, from no flow at
    all; the authors minimise by L-BFGS, without a bound.

    The targets stay where they are, though what masks, depths and boxes are about moves with the pixels, by
    `bound` at most: a right answer for a pixel that came from elsewhere counts as wrong. Where that matters,
    take an objective on pooled features, such as `FeatureDistance`.

    The images tell the flow's size only from below: what is checked against the bound is how far away the
    values of an image's pixels can be found, and what it is in Linf and L2 is recorded as of any attack, but
    is no budget.

    Args:
        bound: Largest flow along each axis in half sides of the image, the shorter where they differ. These
            are the coordinates of `grid_sample`, in which published attacks have .05 (Laidlaw et al., ICLR
            2021): 5.6 of 224 pixels. Above 0 and up to 1.
        steps: Number of steps.
        tau: Weight of the flow's roughness (`roughness`), which is taken off the objective and off what
            points are chosen by; .05 in the paper. It sums over pixels and sets no bound: the larger
            it is, the more steps pass before a flow is worth its roughness.
        random_start: Start from random places within the bound.
        eot: Noise draws that each gradient and value is averaged over; see `PGD`.
        objective: What is maximised; default the task's own loss.
        best: What the answer is chosen by among the points seen; see `PGD`.
        eot_weights: Which of the noise draws count for more in a gradient; see `Weights`.
    """

    norm = "flow"

    def __init__(
        self,
        bound: float | str = 0.05,
        steps: int = 50,
        tau: float = 0.0,
        random_start: bool = False,
        eot: int = 1,
        objective: Objective | None = None,
        best: Best | None = None,
        eot_weights: Weights = "equal",
    ) -> None:
        if not 0 < real("bound", bound) <= 1:
            raise InputError(f"bound={bound}; expected half sides of an image, above 0 and up to 1.")
        if not real("tau", tau) >= 0:
            raise InputError(f"tau={tau}; expected a weight of at least 0.")
        super().__init__(bound, objective, eot_weights)
        self.steps, self.eot, self.tau = whole("steps", steps), whole("eot", eot), real("tau", tau)
        self.random_start, self.best = random_start, best
        self._climber()

    @property
    def calls(self) -> Calls:
        """Those of `APGD`."""
        return self._climber().calls

    def spent(self, attacked: Tensor, image: Tensor) -> Tensor:
        """Return how far, at least, pixels came from, `[B]`, in half sides.

        A value interpolated at most n pixels away lies between the smallest and the largest one so near; if
        it needs n, it comes from more than n - 1 away.
        """
        side = min(image.shape[2:])
        least = image.new_full((len(image),), torch.inf)
        lowest, highest = image, image
        for reach in range(max(image.shape[2:])):
            inside = (attacked >= lowest - TOLERANCE) & (attacked <= highest + TOLERANCE)
            found = inside.flatten(1).all(1) & least.isinf()
            least = torch.where(found, max(reach - 1, 0) * 2 / side, least)
            if least.isfinite().all():
                break
            lowest, highest = -_largest_near(-lowest), _largest_near(highest)
        return least

    def __call__(self, image: Tensor, value: Value, streams: Streams) -> Tensor:
        """Attack `[B, 3, H, W]` images in [0, 1]; see `Optimiser`."""
        reach = self.eps * min(image.shape[2:]) / 2  # pixels

        def flow(point: Tensor) -> Tensor:
            return (point - _STILL) * (reach / _STILL)

        still = torch.full_like(image[:, :2], _STILL)
        moved = Pullback(value, lambda point: warp(image, flow(point)), lambda point: self._cost(flow(point)))
        point = self._climber()(still, moved, streams)
        return warp(image, flow(point)).detach()

    def _cost(self, flow: Tensor) -> Tensor | float:
        return self.tau * roughness(flow) if self.tau else 0.0

    def _climber(self) -> APGD:
        return APGD(
            _STILL,
            self.steps,
            random_start=self.random_start,
            eot=self.eot,
            objective=self.objective,
            best=self.best,
            eot_weights=self.eot_weights,
        )

    def _bind(self, task: AttackedTask, batch: Batch, purify: Purify) -> Value:
        return self._climber()._bind(task, batch, purify)


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """Return images whose pixels come from other places, interpolated bilinearly between four.

    Unlike `grid_sample`, no flow leaves an image as it is to the last bit, and the gradient is the same each
    time on a GPU.

    Args:
        image: `[B, C, H, W]`.
        flow: `[B, 2, H, W]`, how many pixels further down and to the right each comes from; beyond the
            border, from the border. Gradients pass through it.

    Returns:
        `[B, C, H, W]`
    """
    height, width = image.shape[2:]
    down, right = (torch.arange(side, device=image.device).to(flow) for side in (height, width))
    top, low = _between(down[:, None] + flow[:, 0], height)
    left, along = _between(right + flow[:, 1], width)
    pixels = image.flatten(2)

    def at(row: Tensor, column: Tensor) -> Tensor:
        places = (row.clamp(max=height - 1) * width + column.clamp(max=width - 1)).flatten(1)
        return pixels.gather(2, places[:, None].expand(-1, image.shape[1], -1)).reshape(image.shape)

    upper = torch.lerp(at(top, left), at(top, left + 1), along)
    lower = torch.lerp(at(top + 1, left), at(top + 1, left + 1), along)
    return torch.lerp(upper, lower, low)


def roughness(flow: Tensor) -> Tensor:
    """Return eq. 4 of the paper, `[B]`: how unlike its neighbours' each pixel's flow is, summed over all.

    Args:
        flow: `[B, 2, H, W]`, in pixels.
    """
    down, right = (torch.linalg.vector_norm(flow.diff(dim=axis), dim=1).sum((1, 2)) for axis in (2, 3))
    each: Tensor = down + right
    return 2 * each  # each pair of neighbours is two terms


def _between(places: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Return the pixels before places along a side, `[B, H, W]`, and how far on these are, `[B, 1, H, W]`."""
    held = places.detach().clamp(0, side - 1)
    inside = torch.where(held == places, places, held)  # unlike clamp's, its slope at the border is 1
    before = held.floor().clamp(max=max(side - 2, 0))  # and the image's there is the one inside
    return before.long(), (inside - before)[:, None]


def _largest_near(image: Tensor) -> Tensor:
    """Return the largest value at most a pixel away from each along both axes, `[B, C, H, W]`."""
    return F.max_pool2d(image, 3, stride=1, padding=1)
