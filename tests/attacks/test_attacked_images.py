import pytest
import torch
from callbacks.test_attack_and_purify import Arrays, run
from conftest import TinyClassifier, TinyNoiseNetwork

from dds.attacks import PGD, AttackedImages, WorstOf
from dds.attacks.objectives.base import Calls
from dds.callbacks import AttackAndPurify
from dds.errors import InputError
from dds.purifiers import DiffusionDenoiser
from dds.runs.job import Job
from dds.runs.png_files import write_png
from dds.tasks import Classification

EPS = 8 / 255


class Grey(Arrays):
    """Images that 8 bits hold."""

    def __init__(self, **options):
        super().__init__(**options)
        self.image = (self.image * 255).round() / 255


def moved(image, by=EPS):
    """Move each value to the far side of the ball, or to where the image ends."""
    return torch.where(image < 0.5, image + by, image - by)


@pytest.fixture
def folder(tmp_path):
    for place, image in enumerate(Grey().image):
        write_png(moved(image), tmp_path / f"{place:06d}.png")
    return tmp_path


def protocol(attack, **options):
    arguments = {"noise_levels": [10], "attacker_sees": ["none"], "draws": 1, **options}
    return AttackAndPurify(DiffusionDenoiser(TinyNoiseNetwork()), attacks={"theirs": attack}, **arguments)


def measured(attack, data=None):
    return run(protocol(attack), data or Grey())


def test_images_are_measured_as_the_files_hold_them(folder):
    found = measured(AttackedImages(str(folder), EPS))
    expected = [(moved(image) - image).abs().max().item() for image in Grey().image]
    for image, linf in enumerate(expected):
        assert found["theirs/none/t0", 0, image]["linf"].item() == pytest.approx(linf, abs=1e-6)
    assert {condition for condition, *_ in found} >= {"theirs/none/t0", "theirs/none/t10"}


@pytest.mark.parametrize("sees", [["same"], ["none", "same", 10], ["fixed_noise", [10]]])
def test_it_is_measured_as_of_an_attacker_who_sees_nothing(sees):
    made = protocol(AttackedImages("folder"), attacker_sees=sees)
    keys = [condition.key for condition in made.plan.conditions if condition.attack == "theirs"]
    assert keys == ["theirs/none/t0", "theirs/none/t10"]
    assert made.cost.task == Calls(forward=4)  # only what is shown: clean and attacked, with and without


def test_the_worst_of_it_and_another_attack(folder):
    both = WorstOf({"files": AttackedImages(str(folder), EPS), "pgd": PGD(EPS, steps=1)})
    found = run(protocol(both, attacker_sees=["same"]), Grey())
    assert {key for key, *_ in found if key.startswith("theirs")} == {"theirs/none/t0", "theirs/same/t10"}


def test_a_run_knows_the_files_it_reads(folder):
    def header(attack):
        job = Job(Classification(TinyClassifier()), Grey(), protocol(attack))
        return [line for line in job.with_header("").splitlines() if line.startswith("# data: of theirs")]

    attack = AttackedImages(str(folder))
    before = [header(attack), header(WorstOf({"files": attack}))]
    assert before[0] == before[1] != []
    assert header(PGD()) == []
    write_png(torch.zeros(3, 8, 8), folder / "000003.png")
    assert header(attack) != before[0]


def test_rounding_by_half_a_grey_level_is_no_breach(folder):
    data = Grey()
    data.image = (data.image + 0.4 / 255).clamp(0, 1)  # no longer what 8 bits hold
    assert measured(AttackedImages(str(folder), EPS), data)
    with pytest.raises(InputError, match=r"000000.png is linf .* expected at most eps=0.02745 \(7/255\)"):
        measured(AttackedImages(str(folder), 7 / 255), data)


def test_distances_in_l2(folder):
    far = EPS * (3 * 8 * 8) ** 0.5
    assert measured(AttackedImages(str(folder), far, norm="l2"))
    least = (EPS - 0.5 / 255) * (3 * 8 * 8) ** 0.5  # what may have been rounded to these files
    assert measured(AttackedImages(str(folder), least + 1e-4, norm="l2"))
    with pytest.raises(InputError, match="000000.png is l2 "):
        measured(AttackedImages(str(folder), least - 1e-2, norm="l2"))


def beyond(folder):
    write_png(moved(Grey().image[3], by=10 / 255), folder / "000003.png")


def of_another_size(folder):
    write_png(torch.zeros(3, 8, 9), folder / "000003.png")


def lacking(folder):
    for place in (1, 3):
        (folder / f"{place:06d}.png").unlink()


def of_no_size(folder):
    (folder / "000003.png").write_bytes(b"no image")


def twice(folder):
    write_png(Grey().image[3], folder / "000003.bmp")


def gone(folder):
    for path in folder.iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (beyond, r"000003.png is linf .*\(9.5/255\).*expected at most eps=.*Set the eps"),
        (of_another_size, r"000003.png has 8 x 9 pixels .* expected 8 x 8\. Attack images as"),
        (lacking, r"lacks 2 of 4 images: 000001, 000003\. Expected an image file for each"),
        (of_no_size, r"000003.png cannot be read as an image"),
        (twice, r"000003.bmp and .*000003.png have one name"),
        (gone, r"holds no images\. Expected an image file for each"),
    ],
)
def test_images_that_do_not_fit_are_named(folder, spoil, message):
    spoil(folder)
    with pytest.raises(InputError, match=message) as raised:
        measured(AttackedImages(str(folder), EPS))
    assert "\n" not in str(raised.value)


def test_images_of_several_sizes(tmp_path):
    class Several(Grey):
        def load(self, split):
            samples = super().load(split)
            samples[2]["image"] = samples[2]["image"][:, :, :6]
            return samples

    data = Several(batch_size=1)
    for place, sample in enumerate(data.load("test")):
        write_png(sample["image"], tmp_path / f"{place:06d}.png")
    assert measured(AttackedImages(str(tmp_path)), data)


def test_no_such_folder():
    with pytest.raises(InputError, match="there is no folder nowhere. Expected an image file"):
        measured(AttackedImages("nowhere"))


def test_no_such_norm():
    with pytest.raises(InputError, match="norm='l1'; expected one of linf, l2."):
        AttackedImages("folder", norm="l1")
