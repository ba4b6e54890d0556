"""The package from Python: `dds.evaluate` instead of `evaluate.py`."""

import datasets
import pandas as pd
import pytest
import torch
from conftest import TinyClassifier, TinyNoiseNetwork
from PIL import Image
from test_cli import ROOT, conditions, in_folder, run_evaluate  # noqa: F401
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, SubsetRandomSampler
from torchvision.transforms import Normalize
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

import dds
from dds import evaluation

IMAGES = 5


@pytest.fixture
def pairs():
    generator = torch.Generator().manual_seed(0)
    return [(torch.rand(3, 8, 8, generator=generator), number % 4) for number in range(IMAGES)]


@pytest.fixture
def task():
    torch.manual_seed(0)
    return dds.tasks.Classification(TinyClassifier())


def make_protocol(**options):
    torch.manual_seed(1)
    purifier = dds.purifiers.DiffusionDenoiser(TinyNoiseNetwork())
    attacks = {"pgd": dds.attacks.PGD(steps=2)}
    return dds.AttackAndPurify(purifier, [50, 145], attacks=attacks, draws=2, **options)


def evaluate(task, data, folder, **options):
    return dds.evaluate(task, data, make_protocol(), folder, accelerator="cpu", quiet=True, **options)


def test_it_is_what_the_command_line_measures(in_folder):  # noqa: F811
    folder = run_evaluate(in_folder, "cls_scenes.yaml")
    protocol = dds.AttackAndPurify(
        dds.purifiers.DiffusionDenoiser("zoo:scenes-ddpm"),
        [10, {"sigma": 0.25}],
        attacks={"pgd": dds.attacks.PGD(steps=1)},
        draws=2,
    )
    results = dds.evaluate(
        dds.tasks.Classification("zoo:scenes-classification"),
        dds.data.Scenes(size=32, limit=3, batch_size=2),
        protocol,
        in_folder / "python",
        accelerator="cpu",
    )
    assert {entry["key"]: entry for entry in results.summary["conditions"]} == conditions(folder)
    pd.testing.assert_frame_equal(results.samples, pd.read_parquet(folder / "samples.parquet"))
    assert set(results.figures) == {path.stem for path in (folder / "figures").glob("*.png")}


@pytest.mark.usefixtures("without_figures")
def test_the_table_holds_every_metric_with_its_interval(task, pairs, tmp_path):
    results = evaluate(task, pairs, tmp_path / "run")
    entry = results.summary["conditions"][-1]
    row = results.table.loc[entry["key"]]
    assert (row.attack, row.attacker_sees, row.t, row.draws) == ("pgd", "same", 145, 2)
    for name, value in entry["metrics"].items():
        assert (row[name], row[f"{name}_low"], row[f"{name}_high"]) == tuple(value.values())
    assert row.utility_drop == entry["utility_drop"]["value"]
    again = dds.Results.read(tmp_path / "run")
    pd.testing.assert_frame_equal(again.table, results.table)
    assert "<table" in results._repr_html_()


class Mappings(Dataset):
    def __init__(self, pairs):
        self.pairs = pairs

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        image, label = self.pairs[index]
        return {"image": image, "label": label}


@pytest.mark.usefixtures("without_figures")
def test_however_the_images_are_given(task, pairs, tmp_path):
    """Order, batches and the form of samples change nothing."""
    pictures = [(to_pil_image(image), label) for image, label in pairs]
    pairs = [(pil_to_tensor(picture) / 255, label) for picture, label in pictures]
    given = {
        "pairs": pairs,
        "mappings": Mappings(pairs),
        "loader": DataLoader(pairs, batch_size=2, shuffle=True),
        "part": Subset(Mappings([*pairs, *pairs]), range(IMAGES)),
        "Pillow": pictures,
    }
    tables = [evaluate(task, data, tmp_path / name).table for name, data in given.items()]
    for other in tables[1:]:
        pd.testing.assert_frame_equal(other, tables[0], rtol=1e-5)


@pytest.mark.usefixtures("without_figures")
def test_a_run_is_not_overwritten_but_may_be_gone_on_with(task, pairs, tmp_path):
    first = evaluate(task, pairs, tmp_path / "run")
    with pytest.raises(dds.InputError, match="not empty"):
        evaluate(task, pairs, tmp_path / "run")
    assert evaluate(task, pairs, tmp_path / "run", resume=True).summary == first.summary
    other = dds.tasks.Classification(TinyClassifier(), mean=[0.5] * 3, std=[0.2] * 3)
    with pytest.raises(dds.InputError, match="another configuration"):
        evaluate(other, pairs, tmp_path / "run", resume=True)


@pytest.mark.usefixtures("without_figures")
def test_a_data_set_of_datasets_as_it_is(task, pairs, tmp_path):
    """Its images, of two sizes here, give the results that they give by themselves."""
    images = [to_pil_image(image[:, : 8 - number % 2]) for number, (image, _) in enumerate(pairs)]
    table = datasets.Dataset.from_dict({"label": [label for _, label in pairs], "image": images})
    results = evaluate(task, table, tmp_path / "table")
    alone = [(pil_to_tensor(image) / 255, label) for image, (_, label) in zip(images, pairs, strict=True)]
    pd.testing.assert_frame_equal(results.samples, evaluate(task, alone, tmp_path / "alone").samples)
    assert results.summary["data"] == "Dataset"
    ready = table.with_transform(
        lambda rows: {**rows, "image": [pil_to_tensor(x) / 255 for x in rows["image"]]}
    )
    assert torch.equal(evaluation._given(ready, "label").load("test")[1]["image"], alone[1][0])
    with pytest.raises(dds.InputError, match=r"there is no column objects, but label \(.*image \(Image\)"):
        evaluate(dds.tasks.ObjectDetection(Detector()), table, tmp_path / "none")
    with pytest.raises(dds.InputError, match="labels span 0..8 but the network knows classes 0..3"):
        evaluate(task, table.map(lambda row: {"label": 4 * row["label"]}), tmp_path / "none")
    with pytest.raises(dds.InputError, match="IterableDataset has no length.*without streaming"):
        evaluate(task, table.to_iterable_dataset(), tmp_path / "none")
    with pytest.raises(dds.InputError, match="data holds the splits train, test; give one of them"):
        evaluate(task, table.train_test_split(2), tmp_path / "none")


class Stream(IterableDataset):
    def __iter__(self):
        yield from ()


normalised = Normalize([0.5] * 3, [0.2] * 3)
REFUSED = {
    "a stream": (lambda pairs: Stream(), "Stream has no length"),
    "a sampler": (
        lambda pairs: DataLoader(pairs, sampler=SubsetRandomSampler([1])),
        "a sampler",
    ),
    "a collation": (
        lambda pairs: DataLoader(pairs, collate_fn=lambda them: them[0]),
        "collate_fn",
    ),
    "lists": (lambda pairs: [(image.tolist(), 0) for image, _ in pairs], "0 is a list; expected a float"),
    "deep": (lambda pairs: [(Image.new("I;16", (8, 8)), 0)], "image of sample 0 has 16 bits or more"),
    "triples": (lambda pairs: [(*pairs[0], "a.png")], r"expected a mapping .* or a pair \(image, label\)"),
    "normalised": (lambda pairs: [(normalised(image), label) for image, label in pairs], r"\[0, 1\]"),
    "bytes": (lambda pairs: [((image * 255).byte(), label) for image, label in pairs], "uint8"),
    "no label": (lambda pairs: [{"image": image} for image, _ in pairs], r"scored by batch\['label'\]"),
    "no image": (lambda pairs: [{"pixels": image, "label": 0} for image, _ in pairs], "only pixels, label"),
    "text": (lambda pairs: [(image, "cat") for image, _ in pairs], "label of sample 0 is the str 'cat'"),
    "another class": (lambda pairs: [(image, 9) for image, _ in pairs], "9"),
    "nothing": (lambda pairs: [], "found no test images"),
}


@pytest.mark.parametrize("data", REFUSED)
def test_data_that_cannot_be_used_is_refused(task, pairs, tmp_path, data):
    make, words = REFUSED[data]
    with pytest.raises(dds.InputError, match=words):
        evaluate(task, make(pairs), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("without_figures")
def test_rounding_beyond_white_is_white(task, pairs, tmp_path):
    """Resizing in float arithmetic leaves such values; the attack's budget counts from white."""
    beyond = [(torch.full((3, 8, 8), 1.0000004), label) for _, label in pairs]
    samples = evaluate(task, beyond, tmp_path / "run").samples
    assert samples["linf"].max() <= 8 / 255 + 1e-6


@pytest.mark.usefixtures("without_figures")
def test_retrieval_of_queries_in_a_gallery(pairs, tmp_path):
    torch.manual_seed(0)
    task = dds.tasks.ImageRetrieval(nn.Sequential(nn.Flatten(), nn.Linear(192, 6)))
    gallery = [(image.flip(-1), label) for image, label in pairs]
    results = evaluate(task, (pairs, gallery), tmp_path / "run")
    assert results.table["mAP_easy"].between(0.01, 1).all()
    with pytest.raises(dds.InputError, match=r"retrieval needs two data sets, \(queries, gallery\)"):
        evaluate(task, pairs, tmp_path / "other")
    with pytest.raises(dds.InputError, match=r"expected \[0, 1\]"):
        evaluate(task, (pairs, [(2 * image, label) for image, label in gallery]), tmp_path / "other")


class Detector(nn.Module):
    """Finds one box, with torchvision's interface."""

    def forward(self, images, targets=None):
        found = {"boxes": torch.tensor([[1.0, 1, 5, 5]]), "labels": torch.tensor([1])}
        return [{**found, "scores": image.mean()[None]} for image in images]


@pytest.mark.usefixtures("without_figures")
def test_detection_takes_any_number_of_boxes(pairs, tmp_path):
    box = torch.tensor([[1.0, 1, 5, 5]])
    targets = [{"boxes": box.repeat(number, 1), "labels": torch.ones(number)} for number in (1, 3, 0, 1, 2)]
    data = [(image, target) for (image, _), target in zip(pairs, targets, strict=True)]
    protocol = dds.AttackAndPurify(defences={"blur": dds.purifiers.GaussianBlur()}, draws=1)
    task = dds.tasks.ObjectDetection(Detector())
    results = dds.evaluate(task, data, protocol, tmp_path / "run", accelerator="cpu", quiet=True)
    assert results.table.loc["clean/-/t0", "AP"] == pytest.approx(
        (43 + 0.8 * 15) / 101
    )  # the fourth is false


@pytest.mark.usefixtures("without_figures")
def test_a_run_goes_on_only_with_the_same_images(task, pairs, tmp_path):
    evaluate(task, pairs, tmp_path / "run")
    with pytest.raises(dds.InputError, match="other images: files of the data set were added"):
        evaluate(task, [pairs[1], pairs[0], *pairs[2:]], tmp_path / "run", resume=True)


def test_a_bare_network_is_no_task(pairs, tmp_path):
    with pytest.raises(dds.InputError, match=r"TinyClassifier; expected one of dds\.tasks"):
        evaluate(TinyClassifier(), pairs, tmp_path / "run")
