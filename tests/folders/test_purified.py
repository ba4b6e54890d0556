import io
import json

import numpy as np
import pytest
import torch
from conftest import TinyNoiseNetwork
from PIL import Image
from rich.console import Console

from dds.callbacks import AttackAndPurify
from dds.data.files import read_image
from dds.errors import InputError
from dds.folders import purified
from dds.folders.purified import PurifiedFolder, noise_of
from dds.noise import Streams
from dds.purifiers import JPEG, DiffusionDenoiser
from dds.runs.png_files import sha256_of
from dds.whole_file import PARTIAL

SIZES = {"000007.png": (8, 8), "b/photo.JPG": (10, 12), "b/c/0001.bmp": (8, 8)}
VIEWS = ["t10/0", "t10/1", "t145/0", "t145/1", "jpeg/0"]
NAMES = ["000007", "b/c/0001", "b/photo"]
CPU = torch.device("cpu")


@pytest.fixture
def images(tmp_path):
    random = np.random.default_rng(0)
    for name, size in SIZES.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    return tmp_path / "in"


def protocol(network=None, **options):
    purifier = DiffusionDenoiser(network or TinyNoiseNetwork())
    arguments = {"noise_levels": [10, 145], "draws": 2, "defences": {"jpeg": JPEG()}, "seed": 5}
    return AttackAndPurify(purifier, **{**arguments, **options})


def folder(images, out="out", made=None):
    return PurifiedFolder(images, images.parent / out, made or protocol(), {"seed": 5, "classes": {1: (2,)}})


def write(images, out="out", made=None):
    return folder(images, out, made).write(CPU, Console(file=io.StringIO()))


def contents(path):
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*.png")}


def test_names_are_kept_below_a_folder_for_each_defence_and_draw(images):
    assert write(images) == len(VIEWS) * len(NAMES)
    assert contents(images.with_name("out")).keys() == {f"{v}/{n}.png" for v in VIEWS for n in NAMES}
    assert read_image(images.with_name("out") / "t10" / "0" / "b" / "photo.png").shape == (3, 10, 12)


def test_images_are_what_the_defence_shows_rounded_to_eight_bits(images):
    write(images)
    made = protocol()
    for view, place in (("t145/1", "000007.png"), ("jpeg/0", "b/photo.JPG")):
        defence = next(one for one in made.defences.all if str(one) == view.split("/")[0])
        name = place.partition(".")[0]
        streams = Streams(5, (noise_of(name),), ("defence", int(view[-1])))
        image = (read_image(images / place).float() / 255)[None]
        expected = (made.defences.purify(defence, image, streams)[0] * 255).round()
        found = read_image(images.with_name("out") / view / f"{name}.png")
        assert torch.equal(found.float(), expected.detach())


def test_the_noise_belongs_to_the_name():
    assert noise_of("000007") == 7
    numbers = [noise_of(name) for name in ("000007", "7", "a/000007", "a/000008")]
    assert len(set(numbers)) == 4
    assert all(0 <= number < 2**64 for number in numbers)


def test_no_image_hangs_on_those_beside_it(images):
    write(images, "all")
    for name in ("000007.png", "b/photo.JPG"):
        (images / name).unlink()
    write(images, "one")
    one, every = (contents(images.with_name(out)) for out in ("one", "all"))
    assert len(one) == len(VIEWS)
    assert one.items() <= every.items()


def test_the_manifest_says_settings_levels_and_hashes(images):
    write(images)
    out = images.with_name("out")
    said = json.loads((out / "manifest.json").read_text())
    assert said["complete"]
    assert said["settings"]["shown"]["t10"] == {"t": 10, "sigma": pytest.approx(0.0234, abs=1e-4), "draws": 2}
    assert said["settings"]["shown"]["jpeg"] == {"draws": 1}
    assert len(said["settings"]["weights"]["purifier"]) == 64
    assert {"versions", "images", "noise"} < said.keys()
    assert sorted(said["files"]) == NAMES
    photo = said["files"]["b/photo"]
    assert (photo["file"], photo["sha256"]) == ("b/photo.JPG", sha256_of(images / "b" / "photo.JPG"))
    assert photo["purified"] == {
        f"{view}/b/photo.png": sha256_of(out / view / "b" / "photo.png") for view in VIEWS
    }


def test_a_stopped_purify_goes_on_where_it_was(images, monkeypatch):
    write(images, "whole")
    done = []

    def stop(*given):
        if len(done) == 7:
            raise KeyboardInterrupt
        done.append(given)
        return original(*given)

    original = purified.write_png
    monkeypatch.setattr(purified, "write_png", stop)
    with pytest.raises(KeyboardInterrupt):
        write(images)
    out = images.with_name("out")
    (out / "t10" / "0" / f"a.png{PARTIAL}").touch()  # as killed processes leave them
    assert not json.loads((out / "manifest.json").read_text())["complete"]
    assert "15 files, 12 network calls. 7 of the files are there already." in folder(images).plan()
    monkeypatch.undo()
    assert write(images) == len(VIEWS) * len(NAMES) - 7
    assert contents(out) == contents(images.with_name("whole"))
    assert not list(out.rglob(f"*{PARTIAL}"))
    assert write(images) == 0
    assert json.loads((out / "manifest.json").read_text())["complete"]


def test_images_that_changed_and_files_that_are_damaged_are_purified_again(images):
    write(images)
    out = images.with_name("out")
    Image.new("RGB", (8, 8), (255, 0, 0)).save(images / "000007.png")
    (out / "t10" / "0" / "b" / "photo.png").write_bytes(b"no image")
    assert write(images) == len(VIEWS) + 1
    write(images, "anew")
    assert contents(out) == contents(images.with_name("anew"))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"noise_levels": [10]}, "shown"),
        ({"draws": 3}, "shown"),
        ({"network": torch.nn.Conv2d(3, 3, 1)}, "weights"),
    ],
)
def test_other_settings_are_refused(images, other, said):
    write(images)
    with pytest.raises(InputError, match=f"purified by other settings, {said}: .* before, .* now. Set --out"):
        folder(images, made=protocol(**other))


def test_a_folder_of_something_else_is_left_alone(images):
    with pytest.raises(InputError, match="in is not empty and has no manifest.json"):
        PurifiedFolder(images / "b", images, protocol(), {})
    out = images.with_name("out")
    out.mkdir()
    (out / f"manifest.json{PARTIAL}").touch()
    assert folder(images).plan()  # all that is there was left by a killed process
    (out / "manifest.json").write_text("[]")
    with pytest.raises(InputError, match=r"is not empty and has no manifest\.json"):
        folder(images)


@pytest.mark.parametrize("out", ["in", "in/deeper", "in/../in/b"])
def test_purified_images_are_not_put_among_the_others(images, out):
    with pytest.raises(InputError, match=r"lies in --images=.*Set --out to another folder"):
        folder(images, out)


def test_images_that_cannot_be_purified_are_named(images):
    class Halved(TinyNoiseNetwork):
        def forward(self, noisy, t):
            return super().forward(noisy, t)[..., ::2]

    class Broken(TinyNoiseNetwork):
        def forward(self, noisy, t):
            return super().forward(noisy, t) * torch.nan

    with pytest.raises(
        InputError, match=r"000007.png of 8 x 8 pixels cannot be purified by t10 \(RuntimeErr"
    ):
        write(images, made=protocol(Halved()))
    with pytest.raises(InputError, match=r"000007.png purified by t10 is not finite"):
        write(images, "other", protocol(Broken()))
    (images / "b" / "bad.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"bad.png cannot be read as an image"):
        folder(images, "third")


def test_nothing_to_purify_with(images):
    with pytest.raises(InputError, match="there is nothing to purify with; expected protocol.purifier"):
        PurifiedFolder(images, images.with_name("out"), AttackAndPurify(), {})
