"""What an honest evaluation does, rule by rule; the tests are named by the rules' numbers.

1. Attack first, then evaluate once, with noise that the attack never saw.
2. K fresh draws: mean, worst and vote are three metrics, and the clean images get the same.
3. Random numbers belong to seed, image, role and draw.
4. Clamping, resizing and precision are the same in attack and evaluation; attacks run in float32.
5. Every attacked image keeps to its budget and to [0, 1].
6. Resizing alone stands beside the purifiers; images are padded where sides must divide, never cropped.
7. Success counts over all images, and over those that were right before.
8. What was not run stays missing.
9. Sanity curves belong to a report; `results/test_sanity` tests them.
10. Intervals are bootstrapped over images.

At the end: the traps by which published code lost its gradient.
"""

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
import yaml
from callbacks.test_attack_and_purify import trainer
from conftest import Table, TinyClassifier, TinyNoiseNetwork, TinySegmenter, complete_purifiers
from diffusers import UNet2DModel
from lightning.pytorch import Trainer
from matplotlib.figure import Figure
from purifiers.test_latent import save as save_latent_model
from scipy import stats
from torch.utils.data import Subset

from dds.attacks import (
    APGD,
    MIFGSM,
    PGD,
    SIA,
    ArtAttack,
    Attack,
    LowFrequency,
    PurifiedDistance,
    StAdv,
    WorstOf,
)
from dds.callbacks import AttackAndPurify
from dds.command_line import CONFIGS
from dds.controls import GaussianNoise
from dds.data import BaseDataModule
from dds.errors import InputError
from dds.loggers.wandb_log import fill_run
from dds.models import DinoSegmenter
from dds.models.diffusion.schedule import NoiseLevel
from dds.noise import Streams
from dds.protocol import NOTHING, Defence, list_conditions
from dds.purifiers import (
    JPEG,
    BitDepth,
    Chain,
    DiffusionDenoiser,
    Dithering,
    GaussianBlur,
    GaussianDenoiser,
    LatentDenoiser,
    MedianFilter,
    MultiStepDenoiser,
    NoiseOnly,
    ResizeOnly,
)
from dds.reports import summary_tables
from dds.reports.figures import utility_curve
from dds.results.summary import summarise
from dds.runs import ResultsWriter, RunFolder
from dds.runs.grid import Grid
from dds.tasks import Classification, DepthEstimation, ImageRetrieval, SemanticSegmentation


class Images(BaseDataModule):
    """Random images of 8x8 with targets for every task, in any order."""

    def __init__(self, batch_size=4, count=4, order=None):
        super().__init__(batch_size)
        self.image = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        self.order = order

    def load(self, split):
        return [
            {
                "image": image,
                "label": torch.tensor(i % 4),
                "mask": (image[0] * 5).long(),
                "depth": 1 + 5 * image[0],
                "relevance": torch.tensor([2, 0, 3, 0], dtype=torch.int8).roll(i),
            }
            for i, image in enumerate(self.image)
        ]

    def database(self):
        return [{"image": image.flip(0)} for image in self.image[:4]]

    def test_dataset(self):
        every = super().test_dataset()
        return every if self.order is None else Subset(every.dataset, self.order)


class Told(Attack):
    """Another attack that says when it is at work."""

    task_calls = purifier_calls = None

    def __init__(self, attack, roles):
        super().__init__(attack.eps)
        self.attack, self.roles, self.norm = attack, roles, attack.norm

    def craft(self, task, batch, through, streams):
        self.roles.append("attack")
        try:
            return self.attack.craft(task, batch, through, streams)
        finally:
            self.roles.pop()

    def spent(self, attacked, image):
        return self.attack.spent(attacked, image)


def protocol(**options):
    settings = {"noise_levels": [145], "attacks": {"pgd": PGD(steps=2)}, "draws": 3}
    return AttackAndPurify(**{"purifier": DiffusionDenoiser(TinyNoiseNetwork()), **settings, **options})


def evaluate(folder, callback, data=None, task=None):
    """Run an evaluation; return the tables it leaves, and the conditions of the summary by key."""
    task, writer = task or Classification(TinyClassifier()), ResultsWriter(RunFolder(folder), "{}")
    data, conditions = data or Images(), callback.plan.conditions
    trainer(callback, writer).test(task, data, verbose=False)
    grid = Grid(conditions, data.test_dataset().indices)
    every = np.ones((len(conditions), len(grid.images)), dtype=bool)
    writer.folder.merge(grid, writer.folder.collect(grid, every))
    tables = writer.folder.open_tables()
    entries = summarise(type(task), conditions, *tables)
    samples, votes = (table and table.read(table.schema.names) for table in tables)
    frames = [None if table is None else table.to_pandas() for table in (samples, votes)]
    return *frames, {entry["key"]: entry for entry in entries}


def rows_of(table, key):
    return table[table.condition == key].drop(columns="condition").reset_index(drop=True)


@contextmanager
def drawn_numbers(note):
    """Call `note(index, numbers)` for each image whenever noise is drawn, but for a rehearsal."""

    def noted(draw):
        def method(streams, like):
            numbers = draw(streams, like)
            for index, row in zip(streams.index, numbers, strict=True):
                if streams.path[:1] not in (("rehearsal",), ("bootstrap",)):  # weights are kept by a process
                    note(index, row.numpy().tobytes())
            return numbers

        return method

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Streams, "normal", noted(Streams.normal))
        patch.setattr(Streams, "uniform", noted(Streams.uniform))
        yield


# Rule 1: attack first, evaluate with fresh noise

ATTACKS = {
    "pgd": PGD(steps=2, eot=2, restarts=2),
    "apgd": APGD(steps=2, norm="l2"),
    "mi-fgsm": MIFGSM(steps=2),
    "sia": SIA(steps=1, copies=2),
    "low frequency": LowFrequency(PGD(steps=1), [4, 2]),
    "flow": StAdv(steps=2, eot=2),
    "worst of": WorstOf({"a": PGD(steps=1), "b": MIFGSM(steps=1)}, eot=2),
    "purified distance": PGD(steps=2, objective=PurifiedDistance()),
    "art": ArtAttack("art.attacks.evasion.FastGradientMethod"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_rule_1_evaluation_noise_is_never_the_attackers(name):
    roles, numbers = ["evaluation"], {"attack": set(), "evaluation": set()}
    callback = protocol(
        purifier=MultiStepDenoiser(TinyNoiseNetwork(), steps=2),
        defences={"noise": Chain([NoiseOnly(0.1), NoiseOnly(0.1)])},
        attacks={"attack": Told(ATTACKS[name], roles)},
        attacker_sees=["same", "noise", [10, 145]],
    )
    with drawn_numbers(lambda index, drawn: numbers[roles[-1]].add(drawn)):
        trainer(callback).test(Classification(TinyClassifier()), Images(), verbose=False)
    assert numbers["attack"]
    a_draw = 2 + 2  # the noise and a step of the one, the members of the other
    assert len(numbers["evaluation"]) == 4 * 3 * a_draw  # images x draws
    assert not numbers["attack"] & numbers["evaluation"]


class Unlucky(torch.nn.Module):
    """Errs on one draw of noise in ten, whatever the image."""

    def __init__(self):
        super().__init__()
        self.wrong = []

    def forward(self, image):
        logit = 100 * (image[:, 0, 0, 0] - image[:, 0, 0, 1]) - 100 * 1.2816 * 0.1 * 2**0.5
        self.wrong.append((logit > 0).float())
        return torch.stack([torch.zeros_like(logit), logit], 1)


class Grey(Images):
    """Images that are all alike and of class 0."""

    def load(self, split):
        return [{"image": torch.full((3, 8, 8), 0.5), "label": torch.tensor(0)} for _ in self.image]


def test_rule_1_success_is_what_the_evaluation_sees(tmp_path):
    """An attack without a budget sees the network err at one look or another, and gains nothing by it."""
    network = Unlucky()
    attack = PGD(0, "1/255", steps=20, restarts=2)
    callback = protocol(purifier=None, defences={"noise": NoiseOnly(0.1)}, attacks={"none": attack})
    *_, entries = evaluate(tmp_path / "run", callback, Grey(64, count=64), Classification(network))
    looks = torch.stack([wrong for wrong in network.wrong if len(wrong) == 64])
    assert looks.mean() < 0.2
    assert looks.amax(0).mean() > 0.9
    success = entries["none/same/noise"]["metrics"]["attack_success"]["value"]
    assert success == pytest.approx(1 - entries["clean/-/noise"]["metrics"]["accuracy"]["value"])
    assert 0 < success < 0.2


# Rule 2: mean, worst and vote


def miou(rows):
    hit, predicted, labelled = (
        np.stack(rows[name]).sum(0) for name in ("intersection", "predicted", "labelled")
    )
    union = predicted + labelled - hit
    return (hit[union > 0] / union[union > 0]).mean()


def of_draws(entry):
    return {name for name in entry["metrics"] if name.endswith(("_worst", "_vote"))}


def test_rule_2_mean_worst_and_vote_are_three_metrics(tmp_path):
    """Computed anew from the rows; the clean images get the same three as the attacked."""
    task = SemanticSegmentation(TinySegmenter())
    samples, votes, entries = evaluate(tmp_path / "run", protocol(), Images(count=6), task)
    for key in ("clean/-/t145", "pgd/none/t145", "pgd/same/t145"):
        rows, metrics = rows_of(samples, key), entries[key]["metrics"]
        mean = np.mean([miou(draw) for _, draw in rows.groupby("draw")])
        worst = miou(rows.loc[rows.groupby("index").iou.idxmin()])
        vote = miou(rows_of(votes, key))
        got = [metrics[name]["value"] for name in ("mIoU", "mIoU_worst", "mIoU_vote")]
        assert got == pytest.approx([mean, worst, vote])
        assert worst < min(mean, vote)
        assert mean != vote
        assert of_draws(entries[key]) == of_draws(entries["clean/-/t145"])
    assert not of_draws(entries["clean/-/t0"])


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


VOTES = {
    "class": (Classification(TinyClassifier()), lambda votes: stats.mode(votes).mode),
    "class of a pixel": (SemanticSegmentation(TinySegmenter()), lambda votes: stats.mode(votes).mode),
    "depth of a pixel": (DepthEstimation(TinySegmenter(1)), lambda votes: np.median(votes, 0)),
    "descriptor": (ImageRetrieval(TinyClassifier()), lambda votes: unit(votes.mean(0))),
}


@pytest.mark.parametrize("kind", VOTES)
def test_rule_2_a_vote_is_the_mode_the_median_or_the_mean_descriptor(kind):
    task, combined = VOTES[kind]
    measured, measure = [], task.statistics
    task.statistics = lambda decision, batch: (measured.append(decision.numpy()), measure(decision, batch))[1]
    trainer(protocol(attacks={}, noise_levels=[396], draws=5)).test(task, Images(), verbose=False)
    *draws, vote = measured[-6:]
    assert all((draw != vote).any() for draw in draws)
    assert np.allclose(vote, combined(np.stack(draws)), atol=1e-6)


# Rule 3: random numbers belong to seed, image, role and draw


def purified(folder, global_seed, data, seed=0):
    """Return the samples of an evaluation without attacks, and each image's different numbers in order."""
    torch.manual_seed(global_seed)
    numbers = {}
    callback = protocol(attacks={}, controls={"noise": GaussianNoise(3)}, seed=seed)
    with drawn_numbers(lambda index, drawn: numbers.setdefault(index, {}).setdefault(drawn)):
        samples, *_ = evaluate(folder, callback, data)
    return samples, {index: list(drawn) for index, drawn in numbers.items()}


OTHER_RUNS = {
    "one by one": Images(1, count=5),
    "another batch": Images(3, count=5),
    "backwards": Images(2, count=5, order=[4, 3, 2, 1, 0]),
    "some": Images(2, count=5, order=[1, 4]),
}


@pytest.mark.parametrize("name", OTHER_RUNS)
def test_rule_3_batches_order_and_choice_of_images_change_nothing(tmp_path, name):
    whole, numbers = purified(tmp_path / "whole", 1, Images(5, count=5))
    other, others = purified(tmp_path / "other", 2, OTHER_RUNS[name])
    measured = other["index"].unique()
    for index in measured:
        assert others[index] == numbers[index]
    same = whole[whole["index"].isin(measured)].reset_index(drop=True)
    pd.testing.assert_frame_equal(other, same, rtol=1e-5)


def test_rule_3_seeds_images_roles_and_draws_have_numbers_of_their_own(tmp_path):
    """Three draws and the control, of three images."""
    _, numbers = purified(tmp_path / "0", 1, Images())
    _, others = purified(tmp_path / "1", 1, Images(), seed=1)
    own, of_another_seed = ({drawn for i in (1, 2, 3) for drawn in one[i]} for one in (numbers, others))
    assert len(own) == len(of_another_seed) == 3 * (3 + 1)
    assert not own & of_another_seed


# Rule 4: one forward for attacker and evaluation


class Peek(Attack):
    """Looks at the images once, as attacks do, and leaves them as they are."""

    task_calls = purifier_calls = None

    def __init__(self):
        super().__init__("8/255")

    def craft(self, task, batch, through, streams):
        image = batch["image"].clone().requires_grad_()
        task.image_loss(through[0](image, streams), batch).sum().backward()
        return batch["image"]


class Noted(torch.nn.Module):
    """Keeps what a network is given, what it returns, and for whom."""

    def __init__(self, network, roles):
        super().__init__()
        self.network, self.roles, self.notes = network, roles, []

    def forward(self, image):
        assert not self.training
        output = self.network(image)
        self.notes.append((self.roles[-1], image.detach(), output.detach()))
        return output


@pytest.mark.parametrize("input_size", [None, (13, 6)])
def test_rule_4_the_attackers_forward_is_the_evaluations(input_size):
    """An attacker who knows the noise is given the very tensors that the evaluation is."""
    roles = ["evaluation"]
    network = Noted(TinyClassifier(), roles)
    task = Classification(network, mean=[0.5, 0.4, 0.3], std=[0.2, 0.3, 0.4], input_size=input_size)
    callback = protocol(
        noise_levels=[396], attacks={"peek": Told(Peek(), roles)}, attacker_sees=["none", "fixed_noise"]
    )
    trainer(callback).test(task, Images(), verbose=False)
    pairs = [
        (seen, shown)
        for seen, shown in zip(network.notes, network.notes[1:], strict=False)
        if (seen[0], shown[0]) == ("attack", "evaluation")
    ]
    assert len(pairs) == 1 + 3  # without defence, and each draw
    for (_, seen, said), (_, shown, answer) in pairs:
        assert torch.equal(seen, shown)
        assert torch.allclose(said, answer, rtol=1e-6)
    assert {seen.shape[2:] for _, seen, _ in network.notes} == {input_size or (8, 8)}


class Shown(Classification):
    """Keeps the attacked images of each view, to the bit."""

    def _measure(self, view, batch, pictured):
        self.attacked |= dict.fromkeys(view.conditions, view.attacked)
        return super()._measure(view, batch, pictured)


def attacked_images(precision, **options):
    task = Shown(TinyClassifier())
    task.attacked = {}
    trainer(protocol(**options), precision=precision).test(task, Images(), verbose=False)
    return task.attacked


def test_rule_4_attacks_run_in_float32_whatever_the_evaluation():
    usual, mixed = attacked_images("32-true"), attacked_images("bf16-mixed")
    assert not torch.equal(usual["pgd/same/t145"], usual["pgd/none/t145"])
    for key, image in usual.items():
        assert torch.equal(image, mixed[key]), key


def test_attacks_compute_in_bf16_only_by_their_own_setting():
    usual, half = attacked_images("32-true"), attacked_images("32-true", attack_precision="bf16-mixed")
    moved = {key: (half[key] - image).abs() for key, image in usual.items()}
    assert moved["clean/-/t0"].max() == 0
    assert 0 < (moved["pgd/same/t145"] > 1e-3).float().mean() < 0.2  # steps go by signs, and few turn
    assert half["pgd/same/t145"].dtype == torch.float32


# Rule 5: budget and range, and the image that is stored in 8 bits


class Cheat(Attack):
    """Changes images as it likes."""

    task_calls = purifier_calls = None

    def __init__(self, change, norm="linf"):
        super().__init__(0.1)
        self.change, self.norm = change, norm

    def craft(self, task, batch, through, streams):
        return self.change(batch["image"].clone())


def one_pixel(image, value):
    image[1, 2, 3, 4] = value
    return image


CHEATS = {
    "one pixel too far": Cheat(lambda image: one_pixel(image, (image[1, 2, 3, 4] + 0.101) % 1)),
    "too far together": Cheat(lambda image: image + 0.101 / 192**0.5 * (0.5 - image).sign(), "l2"),
    "below black": Cheat(lambda image: image - 0.1),
    "above white": Cheat(lambda image: image + 0.1),
    "not a number": Cheat(lambda image: one_pixel(image, torch.nan)),
}


@pytest.mark.parametrize("name", CHEATS)
def test_rule_5_an_attack_that_leaves_budget_or_range_is_stopped(name):
    callback = protocol(attacks={"cheat": CHEATS[name]})
    with pytest.raises(RuntimeError, match="attack cheat left its budget"):
        trainer(callback).test(Classification(TinyClassifier()), Images(), verbose=False)


def test_rule_5_an_attack_in_place_is_stopped_too():
    class InPlace(Cheat):
        def craft(self, task, batch, through, streams):
            return batch["image"].mul_(0)

    with pytest.raises(RuntimeError, match="attack cheat left its budget"):
        trainer(protocol(attacks={"cheat": InPlace(None)})).test(
            Classification(TinyClassifier()), Images(), verbose=False
        )


def test_rule_5_the_8_bit_check_looks_at_the_image_that_is_stored(tmp_path):
    """Its own condition, evaluated anew: off the grid by at most half a grey level, and never exactly on."""
    grey = Cheat(lambda image: (image + 0.3 / 255).clamp(0, 1))
    samples, *_ = evaluate(tmp_path / "run", protocol(attacks={"grey": grey}, eight_bit=True))
    exact, stored = (rows_of(samples, f"{name}/none/t0").linf for name in ("grey", "grey@8bit"))
    assert exact.to_numpy() == pytest.approx(0.3 / 255, abs=1e-6)
    assert (stored.to_numpy() != exact.to_numpy()).all()
    assert stored.max() <= 0.8 / 255 + 1e-6


def test_rule_5_all_of_the_budget_may_be_spent(tmp_path):
    honest = {
        "linf": Cheat(lambda image: (image + 0.1).clamp(0, 1)),
        "l2": Cheat(lambda image: image - 0.1 / 192**0.5 * (image > 0.5).float(), "l2"),
    }
    samples, *_ = evaluate(tmp_path / "run", protocol(attacks=honest))
    assert rows_of(samples, "linf/none/t0").linf.max() == pytest.approx(0.1)
    assert 0.05 < rows_of(samples, "l2/none/t0").l2.max() <= 0.1


# Rule 6: resizing alone, and sides that must divide


def test_rule_6_the_studys_grids_hold_resizing_alone():
    grids = sorted(CONFIGS.glob("study_*_scenes.yaml"))
    assert len(grids) == 5
    for grid in grids:
        defences = yaml.safe_load(grid.read_text())["protocol"]["defences"]
        settings = [d["init_args"] for d in defences.values() if d["class_path"] == "ResizeOnly"]
        assert settings, grid.name
        image = torch.rand(1, 3, 64, 64)
        shown = ResizeOnly(**settings[0])(image, None, Streams(0, (0,)))
        assert shown.shape == image.shape
        assert not torch.allclose(shown, image, atol=0.1)


def unet():
    return UNet2DModel(
        block_out_channels=(8, 8, 8),
        down_block_types=("DownBlock2D",) * 3,
        up_block_types=("UpBlock2D",) * 3,
        norm_num_groups=4,
        layers_per_block=1,
    )


class Halving(torch.nn.Module):
    """A denoiser that takes even sides alone."""

    def forward(self, noisy):
        assert noisy.shape[2] % 2 == noisy.shape[3] % 2 == 0
        return noisy + F.interpolate(F.avg_pool2d(noisy, 2), scale_factor=2)


def purify(purifier):
    return lambda image: purifier(image, purifier.level(50), Streams(0, (0,)))


NETWORKS = {
    "diffusion": lambda folder: purify(DiffusionDenoiser(unet(), clamp=False)),
    "several steps": lambda folder: purify(MultiStepDenoiser(unet(), steps=2, clamp=False)),
    "latent": lambda folder: purify(LatentDenoiser(save_latent_model(folder), clamp=False)),
    "any denoiser": lambda folder: purify(GaussianDenoiser(Halving(), clamp=False, size_multiple=2)),
    "segmentation": lambda folder: SemanticSegmentation(smp.Unet("resnet18", encoder_weights=None)),
    "depth": lambda folder: DepthEstimation(smp.FPN("resnet18", encoder_weights=None)),
    "DINOv2": lambda folder: SemanticSegmentation(DinoSegmenter("s", None, classes=5, pretrained=False)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_rule_6_odd_sides_are_padded_and_no_pixel_is_lost(tmp_path, name):
    torch.manual_seed(0)
    network = NETWORKS[name](tmp_path)
    image = torch.rand(1, 3, 33, 47, requires_grad=True)
    output = getattr(network, "eval", lambda: network)()(image)
    assert output.shape[-2:] == image.shape[-2:]
    weight = torch.randn(output.shape)
    (gradient,) = torch.autograd.grad((output * weight).sum(), image)
    assert (gradient != 0).any(1).all()  # every pixel has a say


# Rule 7: success over all images, and over those that were right before

T10 = Defence("t10", NoiseLevel(10, 0.02))


def table_of(answers):
    """Return samples of a classification from whether it is right, `[images, draws]` for each condition."""
    rows = [
        {"condition": key, "index": index, "draw": draw, "correct": float(right), "predicted": 0.0}
        for key, of_images in answers.items()
        for index, of_draws in enumerate(of_images)
        for draw, right in enumerate(np.atleast_1d(of_draws))
    ]
    return pa.Table.from_pylist(rows)


def test_rule_7_success_over_all_and_over_what_was_right_before():
    """Right before means through the same defence, in the same draw."""
    conditions = list_conditions(["pgd"], [NOTHING], [T10], 2)
    answers = {
        "clean/-/t0": [1, 1, 1, 1],
        "clean/-/t10": [[1, 1], [1, 0], [1, 1], [0, 0]],
        "pgd/none/t0": [0, 0, 0, 1],
        "pgd/none/t10": [[0, 1], [1, 0], [0, 0], [1, 1]],
    }
    entries = summarise(Classification, conditions, Table(table_of(answers)), None)
    success = {
        entry["key"]: [entry["metrics"][f"attack_success{suffix}"]["value"] for suffix in ("", "_on_correct")]
        for entry in entries
        if entry["attack"] != "clean"
    }
    assert success == {"pgd/none/t0": [0.75, 0.75], "pgd/none/t10": [4 / 8, 3 / 5]}


# Rule 8: what was not run stays missing


def test_rule_8_a_condition_does_not_depend_on_the_others(tmp_path):
    attacks = {"pgd": PGD(steps=2), "mifgsm": MIFGSM(steps=2), "distance": PGD(objective=PurifiedDistance())}
    many, many_votes, _ = evaluate(
        tmp_path / "many",
        protocol(attacks=attacks, noise_levels=[10, 145], attacker_sees=["none", "same", 10]),
    )
    few, few_votes, entries = evaluate(
        tmp_path / "few", protocol(attacks={"mifgsm": MIFGSM(steps=2)}, attacker_sees=["same"])
    )
    assert list(entries) == ["clean/-/t0", "clean/-/t145", "mifgsm/none/t0", "mifgsm/same/t145"]
    for key in entries:
        pd.testing.assert_frame_equal(rows_of(few, key), rows_of(many, key))
        pd.testing.assert_frame_equal(rows_of(few_votes, key), rows_of(many_votes, key))


@pytest.fixture
def incomplete(tmp_path):
    """The summary of a run whose attack on the purifier has no cell without defence."""
    attacks = {"pgd": PGD(steps=1), "distance": PGD(steps=1, objective=PurifiedDistance())}
    callback = protocol(attacks=attacks, noise_levels=[10, 145])
    *_, entries = evaluate(tmp_path / "run", callback)
    assert {key for key in entries if key.startswith("distance")} == {
        "distance/same/t10",
        "distance/same/t145",
    }
    return {
        "task": "Classification",
        "data": "Images",
        "images": 4,
        "utility": "accuracy",
        "lower_is_better": False,
        "versions": {},
        "weights": {},
        "conditions": list(entries.values()),
    }


def test_rule_8_an_empty_cell_of_the_table(incomplete):
    (table,) = summary_tables(incomplete, "accuracy", width=100)
    columns = [list(column.cells) for column in table.columns]
    cells = {row: [column[i] for column in columns[1:]] for i, row in enumerate(columns[0])}
    filled = {row: [bool(cell) for cell in cells[row]] for row in cells}
    assert filled["pgd/none"] == [True, True, True]
    assert filled["pgd/same"] == filled["distance/same"] == [False, True, True]


def test_rule_8_no_point_in_the_figure(incomplete):
    """Where there is no defence, `same` is `none` by definition; an attack that has neither has no point."""
    figure = Figure()
    utility_curve(figure, incomplete)
    points = {line.get_label(): line.get_xdata().tolist() for line in figure.axes[0].lines}
    assert points["pgd, attacker sees same"] == points["pgd, attacker sees none"] == [0, 1, 2]
    assert points["distance, attacker sees same"] == [1, 2]


def test_rule_8_no_number_on_weights_and_biases(incomplete, tmp_path):
    steps = []
    run = SimpleNamespace(define_metric=lambda *names, **options: None, log=steps.append, summary={})
    fill_run(run, RunFolder(tmp_path / "run"), incomplete)
    logged = {
        f"{name.removesuffix('/accuracy')}/t{step['noise_level']}"
        for step in steps
        for name in step
        if name.endswith("/accuracy")
    }
    assert logged == {entry["key"] for entry in incomplete["conditions"]}


def test_rule_8_a_condition_without_rows_gets_no_number():
    conditions = list_conditions(["pgd"], [NOTHING], [T10], 1)
    answers = {"clean/-/t0": [1, 1], "clean/-/t10": [1, 0], "pgd/none/t0": [0, 0]}
    with pytest.raises((LookupError, ValueError)):
        summarise(Classification, conditions, Table(table_of(answers)), None)


# Rule 10: intervals by bootstrap over images


def width(entry, metric="accuracy"):
    return entry["metrics"][metric]["high"] - entry["metrics"][metric]["low"]


def test_rule_10_draws_are_no_more_images():
    """Three times the same answers are no more evidence; of 400 images the interval is the binomial one."""
    right = np.arange(400) % 2
    widths = []
    for draws in (1, 3):
        answers = {"clean/-/t0": right[:, None], "clean/-/t10": np.repeat(right[:, None], draws, 1)}
        conditions = list_conditions([], [], [T10], draws)
        widths.append(width(summarise(Classification, conditions, Table(table_of(answers)), None)[1]))
    assert widths[0] == widths[1]
    assert widths[0] == pytest.approx(2 * 1.96 * (0.5 * 0.5 / 400) ** 0.5, rel=0.1)


def test_rule_10_the_interval_of_a_metric_of_the_whole_data_set():
    """The mean IoU of resampled images, not the mean of resampled images' IoU."""
    random = np.random.default_rng(0)
    hit = random.integers(0, 20, (60, 3))
    counts = {"intersection": hit, "predicted": hit + random.integers(0, 20, (60, 3)), "labelled": hit + 5}
    frame = pd.DataFrame({name: list(value) for name, value in counts.items()}).assign(iou=0.0)
    samples = pa.Table.from_pandas(
        frame.assign(condition="clean/-/t0", index=range(60), draw=0), preserve_index=False
    )
    (entry,) = summarise(SemanticSegmentation, list_conditions([], [], [], 1), Table(samples), None)
    reference = stats.bootstrap(
        (np.arange(60),),
        lambda images: miou(frame.iloc[images]),
        n_resamples=1000,
        vectorized=False,
        method="percentile",
        rng=0,
    ).confidence_interval
    got, tolerance = entry["metrics"]["mIoU"], 0.1 * (reference.high - reference.low)
    assert got["value"] == pytest.approx(miou(frame))
    assert [got["low"], got["high"]] == pytest.approx(list(reference), abs=tolerance)


# Traps that lose the gradient

PURIFIERS = {
    BitDepth: lambda folder: BitDepth(3),
    Chain: lambda folder: Chain([JPEG(50), NoiseOnly(0.1)]),
    DiffusionDenoiser: lambda folder: DiffusionDenoiser(unet()),
    Dithering: lambda folder: Dithering(3),
    GaussianBlur: lambda folder: GaussianBlur(1.0),
    GaussianDenoiser: lambda folder: GaussianDenoiser(torch.nn.Conv2d(3, 3, 1)),
    JPEG: lambda folder: JPEG(50),
    LatentDenoiser: lambda folder: LatentDenoiser(save_latent_model(folder)),
    MedianFilter: lambda folder: MedianFilter(3),
    MultiStepDenoiser: lambda folder: MultiStepDenoiser(unet(), steps=2),
    NoiseOnly: lambda folder: NoiseOnly(0.1),
    ResizeOnly: lambda folder: ResizeOnly(0.5),
}


def test_trap_no_grad_every_purifier_is_tried():
    assert complete_purifiers() == set(PURIFIERS)


@pytest.mark.parametrize("purifier", PURIFIERS, ids=lambda kind: kind.__name__)
def test_trap_no_grad_the_gradient_passes_every_purifier(tmp_path, purifier):
    torch.manual_seed(0)
    network = PURIFIERS[purifier](tmp_path)
    image = torch.rand(2, 3, 16, 16, requires_grad=True)
    level = network.level(50) if network.has_levels else None
    (gradient,) = torch.autograd.grad((network(image, level, Streams(0, (0, 1))) ** 2).sum(), image)
    assert (gradient != 0).float().mean() > 0.3


def test_trap_checkpointing_works_on_frozen_networks():
    attacked, batch = [], next(iter(Images().test_dataloader()))
    for checkpoint in (False, True):
        torch.manual_seed(0)
        purifier = MultiStepDenoiser(unet(), steps=3, checkpoint=checkpoint)
        assert not any(parameter.requires_grad for parameter in purifier.parameters())
        task = Classification(TinyClassifier()).requires_grad_(False)
        seen = [lambda image, streams, p=purifier: p(image, p.level(145), streams)]
        attacked.append(PGD(steps=2).craft(task, batch, seen, Streams(0, (0, 1, 2, 3))))
    assert (attacked[0] != batch["image"]).any()
    assert torch.equal(*attacked)


def test_trap_lightnings_inference_mode_is_refused_before_any_work():
    """Which is Lightning's default."""
    network = Noted(TinyClassifier(), ["evaluation"])
    usual = Trainer(
        accelerator="cpu", logger=False, callbacks=[protocol()], enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    with pytest.raises(InputError, match="inference_mode=False"):
        usual.test(Classification(network), Images(), verbose=False)
    assert not network.notes


class Faint(TinyClassifier):
    """Has gradients of a size that half precision rounds to zero."""

    def forward(self, image):
        return 1e-7 * super().forward(image)


def attacked_under(dtype):
    """Return what an attack makes of a batch while autocast of some type is on, as in a test step."""
    task, batch = Classification(Faint()).requires_grad_(False), next(iter(Images().test_dataloader()))
    attack = PGD("8/255", "8/255", steps=1, random_start=False)
    callback = protocol(purifier=None, attacks={"pgd": attack}, attacker_sees=["none"])
    with torch.no_grad(), torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
        callback.on_test_batch_start(None, task, batch, 0)
        views = {view.conditions[0]: view.attacked for view in batch["views"]}
    return views["pgd/none/t0"] - batch["image"]


def test_trap_autocast_does_not_round_gradients_to_zero():
    expected = attacked_under(None)
    assert (expected != 0).float().mean() > 0.9
    assert torch.equal(attacked_under(torch.float16), expected)
