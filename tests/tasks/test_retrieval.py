import numpy as np
import pytest
import torch
from conftest import TinyClassifier, metrics_of, resampled_metrics
from metrics.test_revisited import by_the_protocol
from torch import nn

from dds.batch import Relevance, View
from dds.data import BaseDataModule
from dds.errors import InputError
from dds.metrics.revisited import SETUPS
from dds.tasks import ImageRetrieval
from tasks.test_distributed import processes

DATABASE = 21
AS_THEY_ARE = {"t0": lambda image, index: image}


class Pictures(BaseDataModule):
    """A database of random images, and queries of which each image's relevance is drawn."""

    def __init__(self, **options):
        super().__init__(**options)
        generator = torch.Generator().manual_seed(4)
        self.images = torch.rand(DATABASE, 3, 8, 8, generator=generator)
        self.relevance = torch.randint(0, 4, (6, DATABASE), generator=generator, dtype=torch.int8)

    def load(self, split):
        return [{"image": self.images[n] * 0.9, "relevance": row} for n, row in enumerate(self.relevance)]

    def database(self):
        return [{"image": image} for image in self.images]


@pytest.fixture
def data():
    return Pictures(batch_size=4)


@pytest.fixture
def batch(data):
    return next(iter(data.test_dataloader()))


@pytest.fixture
def task(data):
    return prepared(data)


def prepared(data, purify=AS_THEY_ARE, **options):
    task = ImageRetrieval(TinyClassifier(), **options).eval().requires_grad_(False)
    task.prepare(data, purify)
    return task


def descriptors(image):
    vectors = TinyClassifier()(image).detach().double()
    return (vectors / vectors.square().sum(1, keepdim=True).sqrt()).numpy()


def rankings(queries, database, relevance):
    return [
        row[np.argsort(-similarity)]
        for row, similarity in zip(relevance.numpy(), queries @ database.T, strict=True)
    ]


def test_metrics_are_means_of_the_protocols_scores(task, data, batch):
    batch["relevance"][0] = Relevance.NEGATIVE  # a query to skip in every setup
    batch["relevance"][1, batch["relevance"][1] == Relevance.HARD] = Relevance.JUNK  # and one to skip in one
    metrics = metrics_of(task, [(task(batch["image"]), batch)])
    ranked = rankings(descriptors(batch["image"]), descriptors(data.images), batch["relevance"])
    for setup in SETUPS:
        scores = [by_the_protocol(row, setup) for row in ranked]
        kept = [score for score in scores if score is not None]
        assert len(kept) == (2 if setup == "hard" else 3)
        names = [f"{name}_{setup}" for name in ("mAP", "mP@1", "mP@5", "mP@10")]
        assert [metrics[name] for name in names] == pytest.approx(np.mean(kept, axis=0).tolist(), abs=1e-6)


def test_resampled_metrics_count_queries_as_often_as_drawn():
    ap, counts = np.array([0.2, 0.6, 0.0]), np.array([1.0, 1.0, 0.0])
    zeros = {
        f"{column}_{setup}": np.zeros(3)
        for setup in SETUPS
        for column in ("ap", "p@1", "p@5", "p@10", "counts")
    }
    statistics = zeros | {"ap_medium": ap, "counts_medium": counts}
    metrics = resampled_metrics(ImageRetrieval, statistics, np.array([[1, 1, 1], [2, 1, 0], [0, 0, 3]]))
    assert metrics["mAP_medium"][:2].tolist() == pytest.approx([0.4, 1 / 3])
    assert np.isnan(metrics["mAP_medium"][2])
    assert np.isnan(metrics["mAP_hard"]).all()


@pytest.mark.parametrize("batch_size", [1, 4, 30])
def test_the_database_is_described_in_order(data, batch_size):
    data.batch_size = batch_size
    assert np.allclose(prepared(data).databases["t0"], descriptors(data.images), atol=1e-5)


def test_two_processes_describe_the_database_in_order(tmp_path, data):
    """Eleven images and ten, in batches of four."""
    whole = prepared(data).databases["t0"]
    for part in processes(lambda rank: prepared(data).databases["t0"], tmp_path):
        assert torch.allclose(part, whole, atol=1e-6)


def test_each_defence_searches_the_database_that_it_purified(data, batch):
    asked = []

    def darken(image, index):
        asked.extend(index.tolist())
        return image**3

    task = prepared(data, {**AS_THEY_ARE, "t50": darken}, purify_database=True)
    assert list(dict.fromkeys(asked)) == list(range(DATABASE))
    image = batch["image"]
    views = [
        View((key,), image, [image], defence) for key, defence in (("a", "t0"), ("b", "t50"), ("c", "t0"))
    ]
    records = task.test_step(batch | {"views": iter(views)}, 0)["records"]
    for record, database in zip(records, (data.images, data.images**3, data.images), strict=True):
        ranked = rankings(descriptors(image), descriptors(database), batch["relevance"])
        expected = [by_the_protocol(row, "medium")[0] for row in ranked]
        assert record.statistics["ap_medium"].tolist() == pytest.approx(expected, abs=1e-6)
    assert not torch.equal(records[0].statistics["ap_medium"], records[1].statistics["ap_medium"])


def test_without_purify_database_it_stays_as_it_is(data, batch):
    task = prepared(data, {**AS_THEY_ARE, "t50": lambda image, index: image**3})
    assert set(task.databases) == {"t0"}
    view = View(("b",), batch["image"], [batch["image"]], "t50")
    (record,) = task.test_step(batch | {"views": iter([view])}, 0)["records"]
    expected = task.statistics(task(batch["image"]), batch)
    assert torch.equal(record.statistics["ap_medium"], expected["ap_medium"])


@pytest.mark.parametrize("attack", ["clean", "positives"])
def test_the_attacked_similarity(data, batch, attack):
    task = prepared(data, attack=attack)
    task.test_step(batch, 0)  # measures the clean images first
    seen = descriptors(batch["image"] ** 2)
    if attack == "clean":
        expected = -(seen * descriptors(batch["image"])).sum(1)
    else:
        positive = np.isin(batch["relevance"], [Relevance.EASY, Relevance.HARD])
        similarity = seen @ descriptors(data.images).T
        expected = [-row[kept].mean() for row, kept in zip(similarity, positive, strict=True)]
    assert task.image_loss(batch["image"] ** 2, batch).tolist() == pytest.approx(list(expected), abs=1e-5)


@pytest.mark.parametrize("attack", ["clean", "positives"])
def test_gradients_agree_with_finite_differences(data, batch, attack):
    task = prepared(data, attack=attack).double()
    task.databases = {"t0": task.databases["t0"].double()}
    batch["features"] = task(batch["image"].double())
    image = (batch["image"] ** 2).double().requires_grad_()
    (gradient,) = torch.autograd.grad(task.image_loss(image, batch).sum(), image)
    direction = torch.randn(image.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    step = 1e-5 * direction
    with torch.no_grad():
        slope = (task.image_loss(image + step, batch) - task.image_loss(image - step, batch)) / 2e-5
    assert slope.tolist() == pytest.approx((gradient * direction).sum((1, 2, 3)).tolist(), rel=1e-6)


def test_the_gradient_is_that_of_the_mean_similarity(data, batch):
    task = prepared(data).double()
    task.databases["t0"] = task.databases["t0"].double()
    output = task(batch["image"].double()).requires_grad_()
    positive = (batch["relevance"] >= Relevance.EASY).double()
    similarity = output @ task.databases["t0"].T
    mean = -(similarity * positive).sum(1) / positive.sum(1)
    (expected,) = torch.autograd.grad(mean.sum(), output)
    loss = task.loss(output, batch)
    (gradient,) = torch.autograd.grad(loss.sum(), output)
    assert torch.allclose(loss, mean, rtol=1e-14)
    assert torch.allclose(gradient, expected, rtol=1e-14)


def test_an_attack_step_does_not_look_at_the_whole_database(data, batch):
    task = prepared(data)
    task.loss(task(batch["image"]), batch)
    task.databases.clear()
    assert task.loss(task(batch["image"]), batch).shape == (4,)


def test_the_database_is_described_once_while_a_job_goes_on(data):
    asked = []

    def noted(image, index):
        asked.extend(index.tolist())
        return image

    task = prepared(data, {"t0": noted})
    once = len(asked)
    task.goes_on = True
    task.prepare(data, {"t0": noted})
    assert len(asked) == once
    task.goes_on = False
    task.prepare(data, {"t0": noted})
    assert len(asked) == 2 * once


def test_queries_without_positives_have_no_gradient(data, batch):
    task = prepared(data, attack="positives")
    batch["relevance"][0] = Relevance.JUNK
    image = batch["image"].requires_grad_()
    (gradient,) = torch.autograd.grad(task.image_loss(image, batch).sum(), image)
    assert gradient.flatten(1).any(1).tolist() == [False, True, True, True]


def test_descriptors_of_draws_are_averaged_on_the_sphere(task):
    draws = torch.tensor([[[1.0, 0]], [[0, 1]], [[0, 1]]])
    assert task.combine(draws).tolist() == [pytest.approx([1 / 5**0.5, 2 / 5**0.5])]


def logged(task, monkeypatch, step, batch):
    values = {}
    monkeypatch.setattr(task, "log", lambda name, value, **_: values.update({name: float(value.detach())}))
    step(batch, 0)
    return values


IDENTITY = [0, 0, 1, 2, 1, 1, 3]  # two images are alone


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_contrastive_loss_by_its_formula(data, monkeypatch, temperature):
    """Equation 2 of Khosla et al., anchor by anchor; an image that is alone has nothing to be close to."""
    image = data.images[:7]
    z, losses = descriptors(image), []
    for i in range(7):
        others = [a for a in range(7) if a != i]
        total = sum(np.exp(z[i] @ z[a] / temperature) for a in others)
        positives = [p for p in others if IDENTITY[p] == IDENTITY[i]]
        logs = [np.log(np.exp(z[i] @ z[p] / temperature) / total) for p in positives]
        losses.append(-np.mean(logs) if positives else 0.0)
    task = ImageRetrieval(TinyClassifier(), temperature=temperature)
    got = logged(task, monkeypatch, task.training_step, {"image": image, "identity": torch.tensor(IDENTITY)})
    assert got["train/loss"] == pytest.approx(np.mean(losses), rel=1e-5)


def test_training_has_finite_gradients(data, monkeypatch):
    task = ImageRetrieval(TinyClassifier())
    monkeypatch.setattr(task, "log", lambda *_, **__: None)
    task.training_step({"image": data.images[:7], "identity": torch.tensor(IDENTITY)}, 0).backward()
    assert all(parameter.grad.isfinite().all() for parameter in task.parameters())


def test_validation_looks_for_the_nearest_other_image(data, monkeypatch):
    image = data.images[:7]
    similarity = descriptors(image) @ descriptors(image).T
    np.fill_diagonal(similarity, -np.inf)
    right = np.mean([IDENTITY[similarity[i].argmax()] == IDENTITY[i] for i in range(7)])
    task = ImageRetrieval(TinyClassifier()).eval()
    got = logged(
        task, monkeypatch, task.validation_step, {"image": image, "identity": torch.tensor(IDENTITY)}
    )
    assert got["val/nearest"] == pytest.approx(right)
    task.on_validation_epoch_end()


def test_captions_tell_the_place_of_the_first_match_beside_junk(task):
    task.databases = {"t0": torch.eye(3)}
    decision = torch.tensor([[0.9, 0.3, 0.1]]).expand(4, -1)  # ranks the database in its order
    relevance = torch.tensor([[2, 0, 0], [1, 3, 0], [0, 1, 2], [0, 1, 0]])
    assert task.render(decision, {"relevance": relevance}) == [
        "match at 1",
        "match at 1",
        "match at 2 (wrong)",
        "no match",
    ]


def test_networks_without_descriptors(images):
    with pytest.raises(InputError, match="one vector an image"):
        ImageRetrieval(nn.Conv2d(3, 4, 3))(images)


def test_queries_of_another_database(task, batch):
    task.check_targets(task(batch["image"]), batch)
    with pytest.raises(InputError, match="speak of 20 images but the database holds 21"):
        task.check_targets(task(batch["image"]), {"relevance": batch["relevance"][:, 1:]})
