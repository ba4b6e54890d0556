"""What was attacked once is found again: the same to the bit, and only if nothing else would come out."""

import json
import os

import numpy as np
import pytest
import torch
from callbacks.test_attack_and_purify import Arrays, Collector, trainer
from conftest import TinyClassifier, TinyNoiseNetwork, assert_same_samples

import dds
from dds.attacks import PGD, AttackedImages, Margin
from dds.batch import ZERO_GRADIENT
from dds.callbacks import AttackAndPurify
from dds.cli import evaluate
from dds.errors import InputError
from dds.purifiers import DiffusionDenoiser
from dds.runs.png_files import write_png
from dds.store import KnownCrafts, Store, open_store
from dds.store.entries import DamagedError, pack, unpack
from dds.tasks import Classification

pytestmark = pytest.mark.usefixtures("without_figures")


def protocol(levels=(10,), **options):
    purifier = DiffusionDenoiser(TinyNoiseNetwork())
    options = {"attacker_sees": ("none", "same", "fixed_noise"), "draws": 2, **options}
    attacks = options.pop("attacks", None) or {"pgd": PGD(steps=2)}
    return AttackAndPurify(purifier, noise_levels=levels, attacks=attacks, **options)


def run(store, what=None, task=None, data=None):
    """Attack all images, and return how many were found and how many made."""
    what = what or protocol()
    what.known = KnownCrafts(Store(str(store)))
    trainer(what).test(task or Classification(TinyClassifier()), data or Arrays(), verbose=False)
    return what.known.found, what.known.made


def evaluated(folder, store):
    """Evaluate into a folder; return what came of it."""
    task = Classification(TinyClassifier())
    return dds.evaluate(task, Arrays(), protocol(), folder, quiet=True, store=store, accelerator="cpu")


CRAFTS = 4  # none, same at t10, and its two draws with their noise known
IMAGES = 4


def test_all_is_found_again_and_the_tables_are_the_same(tmp_path):
    stores = {"first": str(tmp_path / "store"), "second": str(tmp_path / "store"), "without": False}
    found = {name: evaluated(tmp_path / name, store).summary["from_store"] for name, store in stores.items()}
    assert found == {"first": 0, "second": CRAFTS * IMAGES, "without": 0}
    assert_same_samples(tmp_path / "first", tmp_path / "second")
    assert_same_samples(tmp_path / "first", tmp_path / "without")
    assert "Of the attacked images 16 were found" in (tmp_path / "second" / "report.html").read_text()


def test_found_images_cost_no_call_of_a_network(tmp_path):
    def backward():
        network = Collector(TinyClassifier())
        run(tmp_path, task=Classification(network))
        return network.backward

    assert backward() > 0
    assert backward() == 0


def test_one_more_level_costs_the_attacks_that_see_it(tmp_path):
    assert run(tmp_path) == (0, 16)
    assert run(tmp_path, protocol((10, 50))) == (16, 3 * IMAGES)
    assert run(tmp_path, protocol(draws=3)) == (16, IMAGES)
    assert run(tmp_path, protocol(attacks={"pgd": PGD(steps=2), "other": PGD(steps=1)})) == (16, 16)


class Darker(TinyClassifier):
    """Has other weights in no place, and computes something else."""

    def forward(self, image):
        return super().forward(image * 0.5)


def moved(place):
    data = Arrays()
    data.image = data.image.clone()
    data.image[0, 0, 0, 0] += place
    return data


class OtherLabels(Arrays):
    def load(self, split):
        return [{**sample, "label": torch.tensor(0)} for sample in super().load(split)]


def weights(network):
    with torch.no_grad():
        network.body[0].weight[0, 0, 0, 0] += 1e-6
    return network


OTHERWISE = {
    "a pixel": ({"data": moved(1e-6)}, 8),  # its batch is made again
    "targets": ({"data": OtherLabels()}, 0),
    "a weight": ({"task": Classification(weights(TinyClassifier()))}, 0),
    "code of the network": ({"task": Classification(Darker())}, 0),
    "normalisation": ({"task": Classification(TinyClassifier(), mean=[0.1] * 3)}, 0),
    "eps": ({"what": protocol(attacks={"pgd": PGD(eps="4/255", steps=2)})}, 0),
    "objective": ({"what": protocol(attacks={"pgd": PGD(steps=2, objective=Margin())})}, 0),
    "name and so its random numbers": ({"what": protocol(attacks={"other": PGD(steps=2)})}, 0),
    "seed": ({"what": protocol(seed=1)}, 0),
    "level": ({"what": protocol((50,))}, 4),
    "weights of the purifier": (
        {
            "what": AttackAndPurify(
                DiffusionDenoiser(TinyNoiseNetwork(6)), (10,), attacks={"pgd": PGD(steps=2)}, draws=2,
                attacker_sees=("none", "same", "fixed_noise"),
            )
        },
        4,
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", OTHERWISE)
def test_whatever_else_an_attack_depends_on_is_told_apart(what, tmp_path):
    run(tmp_path)
    options, found = OTHERWISE[what]
    assert run(tmp_path, **options)[0] == found


def test_batches_of_another_size_find_the_same(tmp_path):
    run(tmp_path, data=Arrays(batch_size=2))
    assert run(tmp_path, data=Arrays(batch_size=3)) == (16, 0)


class Marked(Classification):
    """Notes which images had a gradient of zero."""

    run_state = Classification.run_state | {"marks"}

    def __init__(self, network, marks):
        super().__init__(network)
        self.marks = marks

    def _measure(self, view, batch, pictured):
        self.marks += [view.marks[ZERO_GRADIENT]] if ZERO_GRADIENT in view.marks else []
        return super()._measure(view, batch, pictured)


def test_marks_are_found_too(tmp_path):
    class Flat(TinyClassifier):
        def forward(self, image):
            return super().forward(image.detach() * 1.0) + 0.0 * image.sum()

    marks = []
    for _ in range(2):
        stuck = protocol(attacks={"pgd": PGD(steps=1)}, attacker_sees=["none"])
        found = run(tmp_path, stuck, Marked(Flat(), marks))
    assert found == (4, 0)
    assert len(marks) == 8
    assert all(torch.equal(one, torch.ones(2)) for one in marks)


def test_a_damaged_entry_is_made_again(tmp_path, capsys):
    run(tmp_path)
    broken = sorted(tmp_path.glob("*/*.attacked"))[0]
    content = bytearray(broken.read_bytes())
    content[-1] ^= 1
    broken.write_bytes(content)
    what = protocol()
    assert run(tmp_path, what) == (14, 2)  # with its neighbour in the batch
    assert what.known.damaged == 1
    assert run(tmp_path) == (16, 0)


def test_images_from_files_are_not_kept(tmp_path):
    images = tmp_path / "theirs"
    images.mkdir()
    for place, image in enumerate(Arrays().image):
        write_png(image, images / f"{place:06d}.png")
    what = protocol(attacks={"theirs": AttackedImages(str(images))})
    assert run(tmp_path / "store", what) == (0, 0)


class Lock(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.file = open(os.devnull)  # noqa: SIM115, PTH123
        self.inner = TinyClassifier()

    def forward(self, image):
        return self.inner(image)


def test_what_cannot_be_told_apart_is_not_looked_up(tmp_path, capsys):
    assert run(tmp_path, task=Classification(Lock())) == (0, 0)
    said = capsys.readouterr().err
    assert said.count("Note: no attacked images are kept or looked for: _modules.model.file, a _io.Text") == 1


# Entries


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_every_bit_is_kept(kind):
    image = torch.rand(3, 8, 6, dtype=kind)
    attacked = (image + (torch.rand(3, 8, 6, dtype=kind) - 0.5) * 16 / 255).clamp(0, 1)
    found, marks = unpack(pack(attacked, image, {"zero_gradient": 1.0}), image)
    assert torch.equal(found, attacked)
    assert found.dtype == kind
    assert marks == {"zero_gradient": 1.0}


def test_an_entry_is_smaller_than_the_image():
    image = torch.rand(3, 64, 64)
    entry = pack((image + 8 / 255 * (torch.rand_like(image) - 0.5).sign()).clamp(0, 1), image, {})
    assert len(entry) < 0.9 * image.numel() * 4


@pytest.mark.parametrize("cut", [0, 10, 40, -1])
def test_part_of_an_entry_is_none(cut):
    image = torch.rand(3, 8, 8)
    with pytest.raises(DamagedError):
        unpack(pack(image, image, {})[:cut], image)


# The place


def test_the_oldest_go_first_and_nothing_else(tmp_path):
    store = Store(str(tmp_path))
    (tmp_path / "ab").mkdir()
    (tmp_path / "ab" / "theirs.txt").write_text("x" * 9000)
    names = [f"{number:064x}" for number in range(5)]
    for age, name in enumerate(names):
        store.write({name: bytes(900)})
        os.utime(tmp_path / "00" / f"{name}.attacked", (age, age))
    store.read(names[:1])
    again = Store(str(tmp_path), gib=4000 / 2**30)
    assert sorted(again.read(names)) == [names[0], *names[2:]]
    assert (tmp_path / "ab" / "theirs.txt").is_file()


def test_a_job_never_drops_its_own_for_more_of_its_own(tmp_path, capsys):
    """It would go round and round, and the next job would find nothing."""
    old, names = f"{99:064x}", [f"{number:064x}" for number in range(20)]
    Store(str(tmp_path)).write({old: bytes(900)})
    os.utime(tmp_path / "00" / f"{old}.attacked", (1, 1))
    store = Store(str(tmp_path), gib=4000 / 2**30)
    for name in names:
        store.write({name: bytes(900)})
    assert store.read([old, *names]).keys() == set(names[:5])
    assert capsys.readouterr().err.count("may; see --store_gib") == 1


def test_object_storage():
    one, two = Store("memory://store/of/ours"), Store("memory://store/of/ours")
    one.write({"a" * 64: b"1", "b" * 64: b"2"})
    assert two.read(["a" * 64, "c" * 64]) == {"a" * 64: b"1"}
    assert two.count(["a" * 64, "c" * 64]) == 1


def test_a_full_disk_ends_the_keeping_and_not_the_run(tmp_path, monkeypatch, capsys):
    def full(self, path, **options):
        raise OSError(28, "No space left on device")

    store = Store(str(tmp_path))
    monkeypatch.setattr(type(store._files), "pipe", full)
    for name in "ab":
        store.write({name * 64: b"1"})
    assert capsys.readouterr().err.count("No space left on device.\n") == 1


def test_why_a_place_takes_nothing_is_said(monkeypatch):
    def refuse(place):
        raise PermissionError(13, "Permission denied", place)

    monkeypatch.setattr("dds.store.store.open_storage", refuse)
    with pytest.raises(InputError, match=r"of attacked images here cannot be used: Permission denied\. Name"):
        Store("here")


def mark(folder, content):
    folder.mkdir()
    (folder / "dds_store.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda path: path.write_text(""), "cannot be used: it holds other things"),
        (
            lambda path: (path.mkdir(), (path / "thesis.tex").touch()),
            "holds other things than attacked images",
        ),
        (lambda path: mark(path, {"schema": 2}), "is of another version .*expected schema 1"),
        (lambda path: (mark(path, {}), (path / "dds_store.json").write_text("{")), "cannot be used"),
    ],
)
def test_what_is_no_store_is_left_alone(prepare, message, tmp_path):
    prepare(tmp_path / "place")
    with pytest.raises(InputError, match=message):
        Store(str(tmp_path / "place"))


def test_an_url_that_nobody_knows():
    with pytest.raises(InputError, match="cannot be used: nowhere://bucket cannot be opened"):
        Store("nowhere://bucket")


@pytest.mark.parametrize("place", [None, "named"])
def test_a_bound_is_above_0(place, tmp_path, monkeypatch):
    """A warning would be too little, also where the place is the default one."""
    monkeypatch.delenv("DDS_STORE")
    with pytest.raises(InputError, match="store_gib=0"):
        open_store(place and str(tmp_path / place), gib=0)


def test_where_it_is(tmp_path, monkeypatch, capsys):
    assert open_store(None) is None  # as DDS_STORE says in all tests
    monkeypatch.setenv("DDS_STORE", str(tmp_path / "named"))
    assert open_store(True).place == str(tmp_path / "named")
    assert open_store(False) is None
    monkeypatch.delenv("DDS_STORE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert open_store(None).place == str(tmp_path / "cache" / "dds" / "attacked")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert open_store(None) is None
    assert "Warning: the store of attacked images" in capsys.readouterr().err


# The program


def test_the_plan_shows_what_is_known(tmp_path, capsys):
    small = ["--config=ret_scenes.yaml", "--data.limit=3", "--data.batch_size=2", f"--runs={tmp_path}"]
    small += ["--data.test_images=20"]
    small += ["--protocol.attacks.pgd.init_args.steps=1", "--protocol.draws=1", "--logger=false"]
    small += [f"--store={tmp_path / 'store'}", "--trainer.accelerator=cpu"]
    evaluate([*small, "--protocol.noise_levels=[10]", "--name=first", "--show=path"])
    assert capsys.readouterr().out.strip() == str(tmp_path / "ret_scenes" / "first")  # no bar that it drew
    evaluate([*small, "--protocol.noise_levels=[10,50]", "--plan", "--show=json"])
    crafts = json.loads(capsys.readouterr().out)["crafts"]
    assert [craft["in_store"] for craft in crafts] == ["", "3 of 3", "3 of 3", "0 of 3"]
    evaluate([*small, "--protocol.noise_levels=[10,50]", "--name=second"])
    assert f"Attacked images found in {tmp_path / 'store'}: 6; made: 3." in capsys.readouterr().out


def test_images_that_are_searched_count(tmp_path):
    """Queries are driven away from them."""
    task, what = Classification(TinyClassifier()), protocol()
    batch = next(iter(Arrays().test_dataloader()))

    def names(searched):
        what.known = KnownCrafts(Store(str(tmp_path)))
        if searched is not None:
            what.known.meet_searched(searched, torch.arange(len(searched)))
        what.known.begin([task], [what.known.searched])
        return what.names_of(what.plan.crafts[1], task, batch, 0)

    images = torch.rand(2, 3, 8, 8)
    assert len({*names(None), *names(images), *names(images.flip(0))}) == 6
    assert names(images) == names(images.clone())
    assert np.unique(names(images)).size == 2
