from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Literal

import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from dds.batch import Batch, Record, Relevance, View, check_images
from dds.certificates import Way
from dds.data import BaseDataModule
from dds.errors import InputError
from dds.metrics.mean import Mean
from dds.metrics.resampling import Resampling
from dds.metrics.revisited import SETUPS, evaluate_ranking
from dds.tasks.base import BaseTask, PurifyDatabase, Statistics
from dds.tasks.distributed import gather_rows
from dds.telling import told


class ImageRetrieval(BaseTask):
    """Finding images of the same thing in a database by one descriptor an image.

    Test images are the queries; they are attacked, the database is not. Metrics by the revisited protocol
    (Radenovic et al., CVPR 2018): mAP and precision at 1, 5 and 10, each for the easy, medium and hard setup,
    over the queries that have a positive image there.

    Args:
        model: Any network that returns one vector an image, `[B, F]`: a timm model with `num_classes: 0`,
            `dds.models.GeM` around any other.
        purify_database: Purify the database at the defence's own level, once; default: as it is.
        attack: What the attack lessens: the mean similarity to the query's `positives` in the database, which
            is what the metrics depend on; or, for an attacker who does not know them, the similarity to its
            own `clean` descriptor, whose gradient is zero at the clean image, so that it needs a random start
            or a purifier.
        temperature: Of the contrastive loss, for training.
        **options: Those of `BaseTask`.
    """

    target = "relevance"
    utility = "mAP_medium"
    score = "ap_medium"
    zero_or_one = ("p@1_medium",)
    votes: Mapping[str, Way] = MappingProxyType({"p@1_medium": "yes or no", "ap_medium": "median"})
    run_state = BaseTask.run_state | {"databases", "_defence"}

    def __init__(
        self,
        model: str | nn.Module,
        purify_database: bool = False,
        attack: Literal["clean", "positives"] = "positives",
        temperature: float = 0.1,
        **options: Any,
    ) -> None:
        super().__init__(model, **options)
        self.purify_database, self.attack, self.temperature = purify_database, attack, temperature
        self.databases: dict[str, Tensor] = {}
        """`[D, F]` descriptors of the database for each defence."""
        self._defence = "t0"

    @property
    def reads_features(self) -> bool:
        """Whether the attack drives the descriptor away from that of the clean image."""
        return self.attack == "clean"

    def forward(self, image: Tensor) -> Tensor:
        """Return descriptors of length 1, `[B, F]`, of images `[B, 3, H, W]` in [0, 1]."""
        output = super().forward(image)
        if output.ndim != 2:
            raise InputError(
                f"the network returns {tuple(output.shape)}; expected one vector an image, [B, F]. Name a "
                "timm model with num_classes: 0, or pool with dds.models.GeM."
            )
        return F.normalize(output, dim=1)

    def look(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the descriptors, which are the features too."""
        descriptor = self(image)
        return descriptor, descriptor

    def prepare(self, data: BaseDataModule, purify: Mapping[str, PurifyDatabase]) -> None:
        """Describe the database."""
        loader = data.database_dataloader()
        for defence in purify if self.purify_database else ["t0"]:
            if self.goes_on and defence in self.databases:
                continue
            indices, descriptors = [], []
            quiet = Console(quiet=True) if self.global_rank > 0 else None
            for batch in told(loader, f"Describing the database, {defence}", quiet, "batches"):
                image, index = check_images(batch["image"]).to(self.device), batch["index"]
                descriptor = self(purify[defence](image, index)).cpu()
                indices.append(index[: batch["real"]])
                descriptors.append(descriptor[: batch["real"]])
            self.databases[defence] = gather_rows(indices, descriptors, self.device)

    def _measure(self, view: View, batch: Batch, pictured: bool) -> Iterator[Record]:
        self._defence = view.defence if self.purify_database else "t0"
        return super()._measure(view, batch, pictured)

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return minus the similarity to what the attack drives the query away from, `[B]`."""
        if self.attack == "clean":
            if "features" not in batch:  # of images that are not measured
                with torch.no_grad():
                    batch["features"] = self(batch["image"])
            return -(output * batch["features"]).sum(1)
        if "positive" not in batch:  # their mean, as the mean similarity is the similarity to it
            batch["positive"] = _means(self.databases["t0"], batch["relevance"] >= Relevance.EASY)
        return -(output * batch["positive"].to(output)).sum(1)

    def decide(self, output: Tensor) -> Tensor:
        """Return the descriptor."""
        return output

    def answered(self, decision: Tensor) -> Tensor:
        """Tell for which queries descriptors are finite, their own and all of the database, bool `[B]`."""
        return super().answered(decision) & self.databases[self._defence].isfinite().all()

    def combine(self, decisions: Tensor) -> Tensor:
        """Return the mean of the descriptors, again of length 1."""
        return F.normalize(decisions.mean(0), dim=1)

    def statistics(self, decision: Tensor, batch: Batch) -> Statistics:
        """Return `ap`, `p@1`, `p@5`, `p@10` and `counts` for each setup, e.g. `ap_medium`, `[B]` each."""
        ranked = _rank(decision, self.databases[self._defence], batch["relevance"])
        scores = {setup: [evaluate_ranking(row, setup) for row in ranked] for setup in SETUPS}
        return {
            f"{name}_{setup}": torch.tensor([score[name] for score in of_setup])
            for setup, of_setup in scores.items()
            for name in of_setup[0]
        }

    def unit_scores(self, statistics: Statistics) -> Statistics:
        """Return AP and whether the best match is right, medium setup; NaN for queries without a positive."""
        counts = statistics["counts_medium"] > 0
        return {name: statistics[name].where(counts, torch.nan) for name in ("ap_medium", "p@1_medium")}

    @staticmethod
    def metrics(resampling: Resampling) -> MetricCollection:
        """Return means over the queries that count; NaN in a setup without any."""
        names = {"mAP": "ap", "mP@1": "p@1", "mP@5": "p@5", "mP@10": "p@10"}
        means: dict[str, Metric | MetricCollection] = {
            f"{name}_{setup}": Mean(f"{score}_{setup}", over=f"counts_{setup}", resampling=resampling)
            for setup in SETUPS
            for name, score in names.items()
        }
        return MetricCollection(means, compute_groups=False)

    def check_targets(self, output: Tensor, batch: Batch) -> None:
        """Refuse queries that speak of another database."""
        database = self.databases["t0"]
        if batch["relevance"].shape[1] != len(database):
            raise InputError(
                f"the queries speak of {batch['relevance'].shape[1]} images but the database holds "
                f"{len(database)}. Check that the data module's queries and database belong together."
            )

    def render(self, decision: Tensor, batch: Batch) -> list[Any]:
        """Return captions: the place of the first right image in the database as it is."""
        ranked = _rank(decision, self.databases["t0"].to(decision), batch["relevance"])
        return [_caption(row[row != Relevance.JUNK] > Relevance.JUNK) for row in ranked]

    # Training

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the supervised contrastive loss (Khosla et al., NeurIPS 2020, eq. 2)."""
        similarity, same, itself = self._compare(batch)
        similarity = (similarity / self.temperature).masked_fill(itself, -torch.inf)
        surprise = -F.log_softmax(similarity, dim=1).masked_fill(itself, 0)
        loss = ((surprise * same).sum(1) / same.sum(1).clamp(min=1)).mean()
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log how often the nearest other image of the batch shows the same thing."""
        similarity, same, itself = self._compare(batch)
        nearest = similarity.masked_fill(itself, -torch.inf).argmax(1, keepdim=True)
        right = same.gather(1, nearest).float().mean()
        self.log("val/nearest", right, prog_bar=True, sync_dist=True, batch_size=len(similarity))

    def on_validation_epoch_end(self) -> None:
        """Log nothing more."""

    def _compare(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Compare a batch's images with each other, `[B, B]`: similarity, of the same thing, itself."""
        descriptor = self(batch["image"])
        itself = torch.eye(len(descriptor), dtype=torch.bool, device=self.device)
        same = batch["identity"][:, None] == batch["identity"]
        return descriptor @ descriptor.T, same & ~itself, itself


def _means(database: Tensor, chosen: Tensor) -> Tensor:
    """Return the mean descriptor of what is chosen, bool `[B, D]`, for each query, `[B, F]`; 0 of nothing."""
    return torch.stack([database[row].sum(0) / row.sum().clamp(min=1) for row in chosen])


def _rank(descriptor: Tensor, database: Tensor, relevance: Tensor) -> Tensor:
    """Sort what each image of the database is to a query, `[B, D]`, by falling similarity; on the CPU.

    Where the similarity is not finite, what is right comes last and what is wrong first.
    """
    similarity = descriptor @ database.T
    worst = torch.where(relevance > Relevance.JUNK, -torch.inf, torch.inf).to(similarity)
    order = similarity.where(similarity.isfinite(), worst).argsort(dim=1, descending=True, stable=True)
    return relevance.gather(1, order).cpu()


def _caption(right: Tensor) -> str:
    places = right.nonzero().flatten()
    if not len(places):
        return "no match"
    return f"match at {int(places[0]) + 1}" + ("" if places[0] == 0 else " (wrong)")
