from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, get_args

import numpy as np
import torch
from matplotlib import colormaps
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from dds.batch import Batch
from dds.certificates import Asked, Way, median_interval, worst_depth
from dds.errors import InputError
from dds.metrics.depth import Align, aligned, depth_errors, mean_over_known
from dds.metrics.mean import Mean
from dds.metrics.resampling import Resampling
from dds.tasks.base import Statistics
from dds.tasks.dense import DenseTask

NEAREST = 1e-3
"""Metres; depth of no more than that counts as unknown, rounding below 0 too."""


class DepthEstimation(DenseTask):
    """Metres for each pixel; any network that returns `[B, 1, h, w]`.

    Metrics, over the pixels whose depth is known, for each image and then averaged over images (Eigen et al.,
    NeurIPS 2014, section 4.2): RMSE in metres, AbsRel, and delta1, the share of pixels within a factor
    of 1.25.

    Args:
        model: As in `BaseTask`; a network of segmentation-models-pytorch with one class will do.
        max_depth: Metres; true depth from there on counts as unknown, and predictions are clamped to it.
        crop: `[top, bottom, left, right]` pixels between which depth is measured; default: the whole image.
            Eigen's for NYU at 480x640 is `[45, 471, 41, 601]`.
        log_output: Whether the network returns the natural logarithm of metres; true where its file says so,
            as those of `train.py` do. So with `inverse`.
        align: For networks that tell depth without a unit: each image's output is brought to its true depth
            before it is compared, by `scale` (their medians) or `scale_shift` (least squares), in metrics and
            in the loss alike, see `dds.metrics.depth.aligned`. Depth by vote is then not certified, as what
            a pixel comes to hangs on all others.
        inverse: Whether the network tells inverse depth, which is then what is aligned.
        **options: Those of `BaseTask`.
    """

    target = "depth"
    utility = "RMSE"
    score = "rmse"
    lower_is_better = True
    votes: Mapping[str, Way] = MappingProxyType(
        {
            "rmse": "upper bound",
            "absrel": "upper bound",
            "delta1": "lower bound",
        }
    )

    def __init__(
        self,
        model: str | torch.nn.Module,
        max_depth: float = 10.0,
        crop: tuple[int, int, int, int] | None = None,
        log_output: bool = False,
        align: Align = "none",
        inverse: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(model, **options)
        if max_depth <= NEAREST:
            raise InputError(f"max_depth={max_depth}; expected metres, more than {NEAREST}.")
        if align not in get_args(Align):
            raise InputError(f"align={align!r}; expected one of {', '.join(get_args(Align))}.")
        if getattr(self.model, "relative", False) and align == "none":
            raise InputError(
                f"the network tells relative depth, without a unit ({type(self.model).__name__}); expected "
                "metres. Set task.align=scale_shift and, as most tell inverse depth, task.inverse=true; or, "
                "if this one tells metres, depth: metric beside its name."
            )
        self.max_depth, self.crop, self.align = max_depth, crop, align
        self.log_output = log_output or getattr(self.model, "log_output", False) is True
        self.inverse = inverse or getattr(self.model, "inverse", False) is True
        if align != "none":
            self.votes = MappingProxyType({})

    def forward(self, image: Tensor) -> Tensor:
        """Return metres, or what is yet to be aligned, `[B, H, W]`, of images `[B, 3, H, W]` in [0, 1]."""
        depth = super().forward(image)
        if depth.shape[1] != 1:
            raise InputError(f"the network returns {tuple(depth.shape)}; expected depth, [B, 1, h, w].")
        return depth[:, 0].exp() if self.log_output else depth[:, 0]

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the mean absolute error over each image's known pixels, `[B]`, in metres."""
        metres = self._in_metres(self._aligned(output, batch))
        return mean_over_known((metres - batch["depth"]).abs(), self._known(batch))

    def decide(self, output: Tensor) -> Tensor:
        """Return metres within the range that is measured, `[B, H, W]`; NaN where they are not finite.

        What is yet to be aligned stays as it is.
        """
        decision = output.where(output.isfinite(), torch.nan)
        if self.align != "none":
            return decision
        return self._in_metres(decision).clamp(NEAREST, self.max_depth)

    def combine(self, decisions: Tensor) -> Tensor:
        """Return the median of each pixel, the lower of two middle values."""
        return decisions.median(0).values

    def statistics(self, decision: Tensor, batch: Batch) -> Statistics:
        """Return `rmse`, `absrel`, `delta1` and whether any depth is `known`, `[B]` each."""
        known = self._known(batch)
        true = batch["depth"].clamp(min=NEAREST)
        farthest = torch.where(true < self.max_depth / 2, self.max_depth, NEAREST)
        decision = self._decided_metres(decision, batch)
        decision = decision.where(decision.isfinite(), farthest)  # no answer is the worst one
        return {**depth_errors(decision, true, known), "known": known.flatten(1).any(1).float()}

    def unit_scores(self, statistics: Statistics) -> Statistics:
        """Return `delta1` and `closeness`, 1 - rmse / max_depth, `[...]`; NaN where no depth is known."""
        scores = {
            "delta1": statistics["delta1"],
            "closeness": 1 - (statistics["rmse"] / self.max_depth).clamp(max=1),
        }
        return {name: score.where(statistics["known"] > 0, torch.nan) for name, score in scores.items()}

    def certify(self, decisions: Tensor, batch: Batch, asked: Asked) -> Statistics:
        """Bound the error of the median depth of images `[K, B, H, W]` (Chiang et al., NeurIPS 2020).

        Between which draws the median of each known pixel stays holds for all of them together. What is
        measured lies in a range anyhow, so the bounds are never infinite.

        Returns:
            `rmse_certified` and `absrel_certified`, at most, `delta1_certified`, at least: `[B, R]` each.
        """
        known, true = self._known(batch).cpu(), batch["depth"].clamp(min=NEAREST).cpu()
        rows = [
            [
                self._worst(decisions[:, place][:, one].cpu(), true[place][one], ratio, asked.alpha)
                for ratio in asked.ratios
            ]
            for place, one in enumerate(known)
        ]
        names = rows[0][0]
        return {
            f"{name}_certified": torch.tensor([[worst[name] for worst in row] for row in rows])
            for name in names
        }

    def _worst(self, drawn: Tensor, true: Tensor, ratio: float, alpha: float) -> dict[str, float]:
        """Return the worst that the medians of pixels may come to, drawn as `[K, P]`; NaN where P is 0."""
        if not len(true):
            return dict.fromkeys(("rmse", "absrel", "delta1"), float("nan"))
        low, high = (
            median_interval(drawn.nan_to_num(nan=missing), ratio, alpha)[side]
            for side, missing in enumerate((NEAREST, self.max_depth))
        )
        return worst_depth(np.maximum(low, NEAREST), np.minimum(high, self.max_depth), true)

    def answers(self, batch: Batch) -> int:
        """Return on how many sides of pixels the median is bounded."""
        return 2 * int(self._known(batch).flatten(1).sum(1).max())

    @staticmethod
    def metrics(resampling: Resampling) -> MetricCollection:
        """Return means over the images of which any depth is known; NaN where there is none."""
        names = {"RMSE": "rmse", "AbsRel": "absrel", "delta1": "delta1"}
        means: dict[str, Metric | MetricCollection] = {
            name: Mean(error, over="known", resampling=resampling) for name, error in names.items()
        }
        return MetricCollection(means, compute_groups=False)

    def check_targets(self, output: Tensor, batch: Batch) -> None:
        """Refuse depth of another size than the image, and a crop outside of it."""
        depth = batch["depth"]
        if depth.shape[1:] != output.shape[1:]:
            raise InputError(
                f"depth is {tuple(depth.shape[1:])} but images {tuple(output.shape[1:])}; expected one value "
                "for each pixel. Resize both alike in the data module (depth by nearest neighbour)."
            )
        if not depth.isfinite().all() or depth.min() < -NEAREST:
            raise InputError(
                "batch['depth'] holds NaN, infinite or negative values; expected metres, 0: unknown."
            )
        if self.crop is not None:
            top, bottom, left, right = self.crop
            if not (0 <= top < bottom <= depth.shape[1] and 0 <= left < right <= depth.shape[2]):
                raise InputError(
                    f"crop {list(self.crop)} does not lie in images of {tuple(depth.shape[1:])}; expected "
                    "[top, bottom, left, right] in pixels of the image as the data module returns it."
                )

    def render(self, decision: Tensor, batch: Batch) -> list[Any]:
        """Return depth as colours, near is bright, `[H, W, 3]` uint8; one scale for each image's truth."""
        farthest = batch["depth"].flatten(1).amax(1).clamp(NEAREST, self.max_depth).reshape(-1, 1, 1)
        metres = self._decided_metres(decision, batch)
        colours = colormaps["magma"](1 - (metres / farthest).clamp(0, 1).numpy())[..., :3]  # (n, H, W, 3)
        return list((colours * 255).round().astype("uint8"))

    def _decided_metres(self, decision: Tensor, batch: Batch) -> Tensor:
        """Return the metres of a decision, which without alignment it holds already."""
        if self.align == "none":
            return decision
        return self._in_metres(self._aligned(decision, batch)).clamp(NEAREST, self.max_depth)

    def _aligned(self, output: Tensor, batch: Batch) -> Tensor:
        true = batch["depth"].clamp(min=NEAREST)
        return aligned(output, 1 / true if self.inverse else true, self._known(batch), self.align)

    def _in_metres(self, output: Tensor) -> Tensor:
        return 1 / output.clamp(min=1 / self.max_depth) if self.inverse else output

    def _known(self, batch: Batch) -> Tensor:
        depth = batch["depth"]
        known = (depth > NEAREST) & (depth < self.max_depth)  # (B, H, W)
        if self.crop is not None:
            top, bottom, left, right = self.crop
            inside = torch.zeros_like(known)
            inside[:, top:bottom, left:right] = True
            known = known & inside
        return known
