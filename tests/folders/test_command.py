"""`evaluate.py purify` as users run it, and the round trip of images through files."""

import shlex

import pandas as pd
import pytest
from data.test_image_folder import write_image

from dds import cli
from dds.cli import evaluate

YAML = """
task: {class_path: NowhereToBeFound, init_args: {model: {class_path: not_installed.Net}}}
data: {class_path: ImageFolder, init_args: {root: not/there}}
protocol:
  defences: {jpeg: {class_path: JPEG}, noise: {class_path: NoiseOnly, init_args: {sigma: 0.1}}}
  attacks: {pgd: {class_path: PGD}}
  draws: 2
trainer: {accelerator: cpu, precision: 64-true}
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(YAML)
    write_image(tmp_path / "photos" / "deep" / "a.jpg")
    return tmp_path


def purify(options, config="mine.yaml"):
    evaluate(["purify", "--config", config, *shlex.split(options)])


def test_neither_task_nor_data_set_is_needed(place, capsys):
    purify("--images=photos --out=out --plan")
    assert not (place / "out").exists()
    purify("--images=photos --out=out")
    files = {path.relative_to(place / "out").as_posix() for path in (place / "out").rglob("*.*")}
    assert files == {f"{view}/deep/a.png" for view in ("jpeg/0", "noise/0", "noise/1")} | {"manifest.json"}
    purify("--images=photos --out=out")
    said = capsys.readouterr().out.splitlines()
    plan = "1 image, each through jpeg x 1, noise x 2: 3 files, 0 network calls."
    assert said[:2] == [f"{plan} 0 of the files are there already."] * 2
    assert said[2] == "Files written: 3. Manifest: out/manifest.json"
    assert said[3] == f"{plan} 3 of the files are there already."
    assert said[4] == "All was done before. Manifest: out/manifest.json"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--out=out", "images must be set. See --help."),
        ("--images=nowhere --out=out", "there is no folder nowhere. Set --images to"),
        ("--images=empty --out=out", "empty holds no images. Set --images to"),
        ("--images=photos --out=s3://bucket/out", "--out=s3://bucket/out is on object storage"),
        ("--images=photos --out=photos/out", "--out=photos/out lies in --images=photos"),
        (
            "--images=photos --out=mine.yaml/x",
            "mine.yaml/x cannot be written: Not a directory.",
        ),
        ("--images=photos --out=out --protocol.defences=null", "there is nothing to purify with"),
        (
            "--images=photos --out=out --trainer.accelerator=tpu",
            "refuses trainer.accelerator=tpu",
        ),
    ],
)
def test_mistakes(place, capsys, options, message):
    (place / "empty").mkdir()
    with pytest.raises(SystemExit):
        purify(options)
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: ")
    assert message in said
    assert "\n" not in said


SCENES = [
    "--config=cls_scenes.yaml", "--data.test_images=5", "--data.limit=4", "--logger=false", "--runs=runs",
    "--experiment=e", "--trainer.accelerator=cpu", "--protocol.noise_levels=[50]", "--protocol.draws=2",
    "--protocol.attacker_sees=[none]",
]  # fmt: skip


def run(name, *options, attack=None):
    """Evaluate with the attack of the YAML, or with images in a folder; return a row for each image."""
    theirs = f"{{theirs: {{class_path: AttackedImages, init_args: {attack}}}}}"
    evaluate([*SCENES, f"--name={name}", *options, *([f"--protocol.attacks={theirs}"] if attack else [])])
    samples = pd.read_parquet(f"runs/e/{name}/samples.parquet")
    return samples.set_index(["condition", "draw", "index"]).sort_index()


def differences(one, two, columns=None):
    """Return by how much what was measured of images differs at most, for each statistic both have."""
    columns = columns or one.dropna(axis=1, how="all").columns
    assert len(one) == len(two) == 4
    return (one[columns].astype(float) - two[columns].astype(float)).abs().max()


def test_round_trip(tmp_path, monkeypatch):
    """Ours are written, evaluated as another tool's, purified in a folder, and evaluated again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "write_report", lambda folder, summary: folder.report)
    steps = "--protocol.attacks.pgd.init_args.steps=2"
    ours = run("ours", steps, "--protocol.eight_bit=true", "--save_attacked=true")
    written = "runs/e/ours/attacked/pgd/none"
    theirs = run("theirs", attack=f"{{folder: {written}, eps: 8/255}}")
    for defence, draw in (("t0", 0), ("t50", 0), ("t50", 1)):
        one, two = ours.loc[f"pgd@8bit/none/{defence}", draw], theirs.loc[f"theirs/none/{defence}", draw]
        assert (differences(one, two) == 0).all()  # to the last bit: the files hold what `@8bit` measures
        assert two["linf"].between(7 / 255, 8 / 255 + 1e-6).all()
    purify(f"--images={written} --out=pure", "runs/e/ours/config.yaml")
    again = run("again", "--protocol.noise_levels=[]", attack="{folder: pure/t50/1, eps: 1}")
    pure, same = again.loc["theirs/none/t0", 0], ours.loc["pgd@8bit/none/t50", 1]
    assert (pure["correct"] == same["correct"]).all()
    measures = ["loss", "psnr", "feature_cosine"]
    rounded = [0.05, 0.05, 0.002]  # to 8 bits once more
    assert (differences(pure, same, measures) < rounded).all()
    other = ours.loc["pgd@8bit/none/t50", 0]  # the noise of another draw
    assert (differences(pure, other, measures) > rounded).all()
