"""One perturbation for all images. ART's is compared in `test_against_others`."""

import pytest
import torch
from callbacks.test_attack_and_purify import Arrays, run, trainer
from conftest import TinyClassifier, TinyNoiseNetwork
from safetensors.torch import load_file, save_file

from dds.attacks import PGD, FeatureDistance, Objective, Transfer, Universal, WorstOf
from dds.attacks.gradient import expected_gradient
from dds.attacks.objectives.base import Calls
from dds.batch import ZERO_GRADIENT
from dds.callbacks import AttackAndPurify, NetworkProgress
from dds.data.scenes import SceneRetrieval, Scenes
from dds.errors import InputError
from dds.noise import Streams
from dds.protocol import Plan
from dds.purifiers import DiffusionDenoiser
from dds.runs.job import Job
from dds.store import KnownCrafts, Store
from dds.tasks import Classification, DepthEstimation, ImageRetrieval, ObjectDetection, SemanticSegmentation

pytestmark = pytest.mark.usefixtures("without_figures")

EPS = 8 / 255
STREAMS = Streams(0, (0, 1, 2, 3))
FEW = {"images": 8, "batch_size": 4, "epochs": 2}


class Parted(Arrays):
    """Images to be tested on and, far from black and white, others to train on."""

    def __init__(self, batch_size=2, images=4, training=8, seed=1, size=8):
        super().__init__(batch_size, images)
        generator = torch.Generator().manual_seed(seed)
        self.training = 0.3 + 0.4 * torch.rand(training, 3, size, size, generator=generator)

    def load(self, split):
        return Arrays(image=self.training).load(split) if split == "train" else super().load(split)


class Linear(Objective):
    """The best perturbation of all is known."""

    def bind(self, task, batch, purify):
        return lambda image, streams: (purify(image, streams) * slopes(image)).sum((1, 2, 3))


class Torn(Objective):
    """Images of class 0 are lost, and drive the perturbation one way; all others the other way."""

    def bind(self, task, batch, purify):
        lost = batch["label"] == 0
        return lambda image, streams: torch.where(lost, 100.0, -1.0) * (image * slopes(image)).sum((1, 2, 3))


def slopes(like):
    return torch.rand(like[:1].shape, generator=torch.Generator().manual_seed(5)) + 0.1


def bare(image, streams):
    return image


@pytest.fixture
def task():
    return Classification(TinyClassifier()).requires_grad_(False)


@pytest.fixture
def batch(images):
    return {"image": 0.3 + 0.4 * images, "label": torch.arange(4), "index": torch.arange(4)}


@pytest.fixture
def made(tmp_path):
    """Return a maker of attacks that keep what they make in a folder of the test."""
    return lambda **options: Universal(**{**FEW, "folder": str(tmp_path / "kept"), **options})


def crafted(attack, task, batch, data=None):
    attack.prepare(data or Parted())
    return attack.craft(task, batch, [bare], STREAMS)


def protocol(attack, **options):
    arguments = {"noise_levels": [10], "attacker_sees": ["none", "same"], "draws": 1, **options}
    return AttackAndPurify(DiffusionDenoiser(TinyNoiseNetwork()), attacks={"all": attack}, **arguments)


def kept(tmp_path):
    """Return the bits of what is kept, by the files' names."""
    files = (tmp_path / "kept").iterdir()
    return {path.name: load_file(path)["perturbation"].numpy().tobytes() for path in files}


BEST = {"linf": lambda slope: EPS * slope.sign(), "l2": lambda slope: EPS * slope / slope.norm()}


@pytest.mark.parametrize("norm", BEST)
def test_the_best_perturbation_for_all_is_found_and_added_to_each(made, task, batch, norm):
    attack = made(eps=EPS, norm=norm, step_size=EPS, epochs=20, objective=Linear(), clip=None)
    found = crafted(attack, task, batch) - batch["image"]
    assert torch.allclose(found, BEST[norm](slopes(found)).expand_as(found), atol=1e-4)
    assert attack.spent(found, torch.zeros_like(found)).max() <= EPS + 1e-6


@pytest.mark.parametrize(("clip", "way"), [(None, 1), (50.0, -1)])
def test_images_that_are_lost_stop_counting(made, task, batch, clip, way):
    found = crafted(made(eps=EPS, objective=Torn(), step_size=EPS, clip=clip, batch_size=8), task, batch)
    assert torch.allclose(found - batch["image"], torch.full_like(found, way * EPS), atol=1e-6)


def test_it_harms_images_that_it_was_not_made_on_more_than_random_signs_do(made):
    task = Classification("zoo:scenes-classification").eval().requires_grad_(False)
    data = Scenes(size=32, train_images=64, test_images=48, batch_size=48)
    batch = next(iter(data.test_dataloader()))
    attack = made(eps="16/255", step_size="4/255", images=64, batch_size=16, epochs=3)
    found = crafted(attack, task, batch, data)
    signs = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)).sign()
    random = (batch["image"] + attack.eps * signs).clamp(0, 1)
    clean, ours, theirs = (task.image_loss(one, batch).mean() for one in (batch["image"], found, random))
    assert ours - clean > 3 * (theirs - clean)


def test_the_images_that_are_measured_change_nothing(made, tmp_path):
    """Nor their number in a batch, nor which of them are left, nor which process measures them."""
    ways = {"a": Parted(1), "b": Parted(4), "c": Parted(3, images=9), "d": Parted(2)}
    ways["d"].finished = {0, 2}
    files, tables = [], []
    for name, data in ways.items():
        attack = made(folder=str(tmp_path / name / "kept"))
        tables.append(run(protocol(attack), data))
        files.append(kept(tmp_path / name))
    assert len(files[0]) == 2
    assert all(other == files[0] for other in files)
    for key, row in tables[3].items():
        assert torch.equal(row["linf"], tables[0][key]["linf"])


def test_what_is_kept_is_found_by_other_runs_and_nothing_is_made_again(made, tmp_path, monkeypatch):
    def gradients(attack, **options):
        """Count them in a run with a progress bar, which hangs on the networks."""
        callback, before = protocol(attack, **options), len(counted)
        progress = NetworkProgress(callback)
        trainer(callback, progress).test(Classification(TinyClassifier()), Parted(4), verbose=False)
        return len(counted) - before

    def count(*arguments):
        counted.append(arguments)
        return expected_gradient(*arguments)

    counted = []
    monkeypatch.setattr("dds.attacks.together.expected_gradient", count)
    first = made()
    assert gradients(first) == 2 * 2 * 2  # two epochs of two minibatches, for each of two things seen
    assert gradients(first) == 0
    assert gradients(made()) == 0
    assert gradients(made(), noise_levels=[10, 50]) == 4
    assert len(kept(tmp_path)) == 3


OTHER = {
    "eps": lambda made: (made(eps="4/255"), Parted(), TinyClassifier()),
    "objective": lambda made: (made(objective=FeatureDistance("body.0")), Parted(), TinyClassifier()),
    "training images": lambda made: (made(), Parted(seed=2), TinyClassifier()),
    "weights": lambda made: (made(), Parted(), TinyClassifier().requires_grad_(False).apply(halved)),
}


def halved(layer):
    if hasattr(layer, "weight"):
        layer.weight *= 0.5


@pytest.mark.parametrize("what", OTHER)
def test_another_one_is_made_where_something_is_other(made, tmp_path, batch, what):
    crafted(made(), Classification(TinyClassifier()).requires_grad_(False), batch)
    attack, data, network = OTHER[what](made)
    crafted(attack, Classification(network).requires_grad_(False), batch, data)
    assert len(kept(tmp_path)) == 2


def test_the_same_attack_is_made_anew_for_other_data(made, tmp_path, task, batch):
    attack = made()
    one, other, again = (crafted(attack, task, batch, Parted(seed=seed)) for seed in (1, 2, 1))
    assert not torch.equal(one, other)
    assert torch.equal(one, again)
    assert len(kept(tmp_path)) == 2


def test_it_transfers_from_another_network(made, tmp_path):
    other = Classification(TinyClassifier().requires_grad_(False).apply(halved))
    transfer = Transfer(made(), other)
    assert transfer.beforehand == made().beforehand
    assert run(protocol(transfer, attacker_sees=["none"]), Parted())
    assert run(protocol(made(), attacker_sees=["none"]), Parted(), other)
    assert len(kept(tmp_path)) == 1
    assert run(protocol(made(), attacker_sees=["none"]), Parted())
    assert len(kept(tmp_path)) == 2


def test_a_damaged_one_is_made_again(made, tmp_path, task, batch, capsys):
    once = crafted(made(), task, batch)
    (path,) = (tmp_path / "kept").iterdir()
    path.write_bytes(path.read_bytes()[:-9])
    assert torch.equal(crafted(made(), task, batch), once)
    assert "it is made anew, as" in capsys.readouterr().err
    assert load_file(path)["perturbation"].shape == (3, 8, 8)


def test_a_full_disk_does_not_end_the_run(made, task, batch, capsys, monkeypatch):
    def full(*arguments):
        raise InputError("no space left.")

    monkeypatch.setattr("dds.attacks.universal.write_perturbation", full)
    assert not torch.equal(crafted(made(), task, batch), batch["image"])
    assert "a universal perturbation is not kept: no space left." in capsys.readouterr().err


def test_it_is_planned_with_no_call_an_image_and_told_what_it_takes_before(made):
    attack = made(eot=3)
    assert attack.task_calls == attack.purifier_calls == Calls()
    said = "on 8 training images, for at most 48 + 48 calls of the task and 48 + 48 purifications"
    assert said in attack.beforehand
    told = str(protocol(WorstOf({"a": attack, "b": PGD()})).describe().caption)
    assert "attack all: made once for each thing that it sees" in told


def test_each_gradient_averages_over_noise_of_its_own(made, task, batch):
    drawn = []

    def noisy(image, streams):
        drawn.append((streams.index, streams.path, streams.normal(image)[0, 0, 0, 0].item()))
        return image

    attack = made(eot=3)
    attack.prepare(Parted())
    attack.craft(task, batch, [noisy], STREAMS.child("attack", "all"))
    assert len({number for *_, number in drawn}) == len(drawn) == 2 * 2 * 3
    assert {path[0] for _, path, _ in drawn} == {"universal"}
    assert {image for index, *_ in drawn for image in index} == set(range(8))


def test_the_bar_is_full_at_the_end_and_making_it_does_not_count(made):
    callback = protocol(made())
    progress = NetworkProgress(callback)
    trainer(callback, progress).test(Classification(TinyClassifier()), Parted(2), verbose=False)
    (bar,) = progress._bar.tasks
    assert bar.completed == bar.total == 2 * (callback.cost.task.forward + callback.cost.purifier.forward)


def test_images_that_cost_nothing_are_not_stored(made, tmp_path):
    callback = protocol(made())
    callback.known = KnownCrafts(Store(str(tmp_path / "store")))
    run(callback, Parted())
    assert (callback.known.found, callback.known.made) == (0, 0)


def test_a_perturbation_that_no_gradient_moves_is_none_and_marked(made):
    class Flat(TinyClassifier):
        def forward(self, image):
            return super().forward(image) * 0

    table = run(protocol(made(), attacker_sees=["none"]), Parted(), Classification(Flat()))
    rows = {key: row for key, row in table.items() if key[0] == "all/none/t0"}
    assert {(row["linf"].item(), row[ZERO_GRADIENT].item()) for row in rows.values()} == {(0, 1)}


SCENES = {"size": 32, "train_images": 4, "test_images": 4, "batch_size": 4}
TASKS = {
    "classification": Classification,
    "segmentation": SemanticSegmentation,
    "depth": lambda model: DepthEstimation(model, max_depth=20, log_output=True),
    "detection": ObjectDetection,
    "retrieval": lambda model: ImageRetrieval(model, attack="clean"),
}


@pytest.mark.parametrize("name", TASKS)
def test_every_task(made, name):
    task = TASKS[name](f"zoo:scenes-{name}").eval().requires_grad_(False)
    data = Scenes(**SCENES)
    train = next(iter(data.some_training_batches(4, 4)))
    attack = made(images=4, epochs=3, step_size="4/255")
    attack.prepare(data)
    attack.check(task, {key: value[:1] for key, value in train.items() if key != "real"})
    found = attack.craft(task, train, [bare], STREAMS)
    assert task.image_loss(found, train).mean() > task.image_loss(train["image"], train).mean()


def test_retrieval_by_positives_is_refused_and_features_are_not(made):
    task = ImageRetrieval("zoo:scenes-retrieval").eval().requires_grad_(False)
    data = SceneRetrieval(**{**SCENES, "test_images": 8})
    message = "TaskLoss of ImageRetrieval needs 'relevance'.* FeatureDistance, or for retrieval task.attack"
    with pytest.raises(InputError, match=message):
        run(protocol(made()), data, task)
    assert run(protocol(made(objective=FeatureDistance(), epochs=1, images=4)), data, task)


# Files


@pytest.fixture
def file(tmp_path):
    def write(perturbation=None, name="file.safetensors", **said):
        perturbation = torch.full((3, 8, 8), EPS) if perturbation is None else perturbation
        said = {"eps": "8/255", "norm": "linf", **said}
        save_file({"perturbation": perturbation}, tmp_path / name, {k: v for k, v in said.items() if v})
        return str(tmp_path / name)

    return write


def test_a_file_is_added_as_it_is_as_of_an_attacker_who_sees_nothing(file):
    table = run(protocol(Universal(EPS, file=file())), Arrays())
    assert {key for key, *_ in table if key.startswith("all")} == {"all/none/t0", "all/none/t10"}
    assert table["all/none/t0", 0, 0]["linf"].item() == pytest.approx(EPS)


def test_what_was_made_can_be_applied_from_its_file(made, tmp_path, task, batch):
    found = crafted(made(), task, batch)
    (path,) = (tmp_path / "kept").iterdir()
    assert torch.equal(crafted(Universal(EPS, file=str(path)), task, batch), found)


def test_a_run_says_which_file_it_read(file):
    def header(path):
        what = protocol(Universal(EPS, file=path))
        return Job(Classification(TinyClassifier()), Arrays(), what).with_header("")

    one, other = (file(torch.full((3, 8, 8), value), f"{value}.safetensors") for value in (0.01, 0.02))
    assert header(one) == header(one)
    assert header(one) != header(other)


BAD_FILES = {
    "another size": ({"perturbation": torch.zeros(3, 9, 8)}, "of 9 x 8 pixels .* test images are of 8 x 8"),
    "another eps": ({"eps": "4/255"}, "was made for linf eps=4/255, but the attack has linf eps=0.0313"),
    "another norm": ({"norm": "l2"}, "was made for l2 eps=8/255, but the attack has linf"),
    "no budget": ({"eps": ""}, "holds perturbation and says norm. Expected what Universal has made"),
    "too far": ({"perturbation": torch.full((3, 8, 8), 0.1)}, "is linf 0.1; expected at most its eps=0.0313"),
    "not finite": ({"perturbation": torch.full((3, 8, 8), torch.nan)}, "is linf nan; expected at most"),
    "an image": ({"perturbation": torch.zeros(1, 3, 8, 8)}, r"holds torch.float32 of shape \(1, 3, 8, 8\)"),
}


@pytest.mark.parametrize("what", BAD_FILES)
def test_bad_files_are_refused(file, what):
    held, message = BAD_FILES[what]
    with pytest.raises(InputError, match=message):
        run(protocol(Universal(EPS, file=file(**held))), Arrays())


@pytest.mark.parametrize("content", [b"", b"no safetensors", None])
def test_damaged_and_missing_files_are_refused(tmp_path, content):
    path = tmp_path / "file.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"{path} cannot be read"):
        run(protocol(Universal(EPS, file=str(path))), Arrays())


def test_weights_are_no_perturbation(tmp_path):
    save_file(TinyClassifier().state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(InputError, match=r"holds body.* and says nothing of its budget"):
        run(protocol(Universal(EPS, file=str(tmp_path / "weights.safetensors"))), Arrays())


# Other bad input


class NoTraining(Arrays):
    def load(self, split):
        if split == "train":
            raise InputError("there is nothing to train on.")
        return super().load(split)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (NoTraining(), "but there is nothing to train on. Have it applied from a file"),
        (Arrays(), "but Arrays has no other images than those that are tested. Have it applied"),
        (Parted(training=0), "found no train images.* Have it applied"),
        (Parted(size=9), "training images are of 9 x 9 pixels .*, but the test images are of 8 x 8"),
    ],
)
def test_data_without_such_images_to_train_on_is_refused(made, data, message):
    with pytest.raises(InputError, match=message):
        run(protocol(made()), data)


def test_images_of_several_sizes_are_refused(made):
    class Sizes(Parted):
        def load(self, split):
            return [*super().load(split), {"image": torch.zeros(3, 6, 8), "label": torch.tensor(0)}]

    with pytest.raises(InputError, match="the test images are of 2 sizes, such as 6 x 8 and 8 x 8; expected"):
        run(protocol(made()), Sizes())


def test_a_folder_that_cannot_be_is_refused_before_anything_is_made(made, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match="taken cannot be written: .* Name a writable place by the attack's"):
        made(folder=str(tmp_path / "taken")).prepare(Parted())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": 0}, "images=0; expected a whole number of at least 1"),
        ({"epochs": 0}, "epochs=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"clip": "much"}, "clip='much'; expected a number"),
        ({"norm": "l1"}, "norm='l1'; expected one of linf, l2"),
        ({"file": "a", "folder": "b"}, "file=a and folder=b; expected one"),
        ({"folder": "s3://bucket/kept"}, "is on object storage; expected a place on this machine"),
    ],
)
def test_bad_settings_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Universal(**options)


def test_an_attack_that_is_not_at_work_need_not_be_ready(tmp_path):
    callback = protocol(Universal(EPS, file=str(tmp_path / "missing")))
    callback.plan = Plan.of([one for one in callback.plan.conditions if one.attack == "clean"])
    assert run(callback, Arrays())
