"""The two programs as users run them: every shipped YAML, several processes, and every mistake."""

import json
import re
import shutil
from pathlib import Path

import diffusers  # noqa: F401 (what it logs to must outlive the test that imports it)
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from browser import CHROMIUM, ask
from conftest import assert_same_samples, run_processes
from data.test_camvid import write_camvid
from data.test_cifar10 import write_npz
from loggers.test_wandb_log import read_wandb

from dds.cli import evaluate
from dds.command_line import CONFIGS
from dds.models.cifar10 import CifarDenoiser, CifarResNet
from dds.runs import ResultsWriter
from dds.training import train

ROOT = Path(__file__).parents[1]
SMALL = [
    "--protocol.noise_levels=[10,{sigma: 0.25}]",
    "--protocol.attacks.pgd.init_args.steps=1",
    "--protocol.draws=2",
    "--data.limit=3",
    "--data.batch_size=2",
    "--trainer.accelerator=cpu",
]


def run_evaluate(tmp_path, config, *options, name="run", logger="false"):
    arguments = [
        "--config",
        config,
        *SMALL,
        *(["--data.size=32"] if config.endswith("_scenes.yaml") else []),
        f"--runs={tmp_path}",
        f"--name={name}",
        f"--logger={logger}",
        *options,
    ]
    evaluate(arguments)
    return tmp_path / Path(config).stem / name


def cifar_options(tmp_path):
    write_npz(tmp_path / "test.npz")
    state = {f"module.{name}": value for name, value in CifarResNet(56).state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "resnet.th")
    torch.save(CifarDenoiser().state_dict(), tmp_path / "ddpm.pth")
    return [
        f"--data.root={tmp_path / 'test.npz'}",
        f"--task.model.init_args.weights={tmp_path / 'resnet.th'}",
        f"--protocol.purifier.model.init_args.weights={tmp_path / 'ddpm.pth'}",
    ]


def camvid_options(tmp_path):
    """Train both networks for two steps with the shipped recipes, and evaluate those."""
    root = write_camvid(tmp_path / "camvid")
    options = data = [f"--data.root={root}", "--data.size=[48,64]", "--data.num_workers=0"]
    for flag, recipe in (("--task.model", "seg_camvid"), ("--protocol.purifier.model", "denoiser_camvid")):
        run_train(f"train/{recipe}.yaml", *data, name=recipe)
        options = [*options, f"{flag}=runs/train/{recipe}/model.safetensors"]
    return options


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_train(config, *options, name="run", steps=2):
    short = [f"--trainer.max_steps={steps}", "--trainer.val_check_interval=1", "--trainer.accelerator=cpu"]
    every = [
        "--trainer.precision=32-true",  # processors without bf16 take forty times as long for it
        "--trainer.check_val_every_n_epoch=null",
        "--data.batch_size=4",
        "--trainer.enable_progress_bar=false",
        "--checkpoint_every=1",
    ]
    train(["--config", config, *short, *every, f"--name={name}", *options])
    return Path("runs/train") / name


def conditions(folder):
    return {entry["key"]: entry for entry in json.loads((folder / "summary.json").read_text())["conditions"]}


EVALUATIONS = {
    "seg_scenes.yaml": lambda tmp_path: [],
    "cls_scenes.yaml": lambda tmp_path: [],
    "depth_scenes.yaml": lambda tmp_path: [],
    "ret_scenes.yaml": lambda tmp_path: ["--data.test_images=24"],
    "det_scenes.yaml": lambda tmp_path: [],
    "cls_cifar10.yaml": cifar_options,
    "seg_camvid.yaml": camvid_options,
}


@pytest.mark.parametrize("config", EVALUATIONS)
def test_shipped_evaluation_end_to_end(in_folder, config, capsys):
    folder = run_evaluate(in_folder, config, *EVALUATIONS[config](in_folder))
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    expected = {"config.yaml", "samples.parquet", "votes.parquet", "summary.json", "examples.npz"}
    drawn = ["utility", "examples", "overview", "heatmap"]
    if conditions(folder)["clean/-/t10"]["utility_drop"]["value"] is not None:  # random weights
        drawn.append("trade_off")
    figures = {f"figures/{name}.{kind}" for name in drawn for kind in ("png", "svg")}
    classes = {"class_iou.csv"} if config.startswith("seg") else set()
    assert left == expected | figures | classes | {"report.html"}
    keys = ["clean/-/t0", "clean/-/t10", "clean/-/t145", "pgd/none/t0", "pgd/none/t10", "pgd/none/t145"]
    keys += ["pgd/same/t10", "pgd/same/t145"]
    assert list(conditions(folder)) == keys
    samples = pd.read_parquet(folder / "samples.parquet")
    assert samples.groupby("condition").size().to_dict() == {
        key: 3 if key.endswith("t0") else 6 for key in keys
    }
    assert samples[samples.condition.str.startswith("pgd")].linf.between(1 / 255, 8 / 255 + 1e-6).all()
    assert "pgd/same" in capsys.readouterr().out
    if CHROMIUM:
        said = ask((folder / "report.html").read_text(), "said.pictures = document.images.length", in_folder)
        assert said["pictures"] > 20
        assert (said["broken"], said["width"] <= said["phone"]) == (0, True)


@pytest.mark.usefixtures("without_figures")
def test_summary_has_the_promised_form(in_folder):
    summary = json.loads((run_evaluate(in_folder, "cls_scenes.yaml") / "summary.json").read_text())
    assert {"schema", "task", "data", "images", "seed", "conditions"} <= summary.keys()
    assert (summary["schema"], summary["task"], summary["images"]) == (1, "Classification", 3)
    assert len(summary["weights"]["purifier"]) == 64
    first, *_, last = summary["conditions"]
    fields = {
        "key",
        "attack",
        "attacker_sees",
        "defence",
        "t",
        "sigma",
        "draws",
        "straight_through",
        "metrics",
    }
    fields |= {"utility_drop"}
    assert first.keys() == last.keys() == fields
    assert summary["calls"]["purifier"] == {"forward": 2 + 2 + 2 * 2 + 2 * (1 + 2), "backward": 2}
    assert summary["purification_calls"] == {"t10": 1, "t145": 1}
    assert summary["seconds"] > 0
    assert (first["t"], first["sigma"], first["draws"]) == (None, None, 1)
    assert (last["t"], last["draws"]) == (145, 2)
    assert last["sigma"] == pytest.approx(0.2516, abs=1e-4)
    for value in last["metrics"].values():
        assert value["low"] <= value["high"]


@pytest.mark.usefixtures("without_figures")
def test_scripts_get_what_they_ask_for_and_nothing_else(in_folder, capsys):
    folder = run_evaluate(in_folder, "cls_scenes.yaml", "--show=json", name="json")
    said = capsys.readouterr()
    assert json.loads(said.out) == json.loads((folder / "summary.json").read_text())
    run_evaluate(in_folder, "cls_scenes.yaml", "--show=path", name="path")
    assert capsys.readouterr().out == f"{in_folder / 'cls_scenes' / 'path'}\n"


def test_page_and_figures_are_drawn_anew_from_the_folder_alone(in_folder, capsys):
    folder = run_evaluate(in_folder, "cls_scenes.yaml")
    first = (folder / "report.html").read_text()
    (folder / "report.html").unlink()
    shutil.rmtree(folder / "figures")
    capsys.readouterr()
    evaluate(["report", "cls_scenes/run"])
    assert capsys.readouterr().out == "Report: cls_scenes/run/report.html\n"
    assert (folder / "report.html").read_text() == first
    assert len(list((folder / "figures").glob("*.svg"))) == 5
    with pytest.raises(SystemExit) as end:
        evaluate(["report", "cls_scenes"])
    assert end.value.code == 2
    assert "holds no summary.json" in capsys.readouterr().err


def test_runs_are_compared_on_one_page(in_folder, capsys):
    """A run and its copy: every paired difference is 0."""
    folder = run_evaluate(in_folder, "cls_scenes.yaml")
    shutil.copytree(folder, folder.parent / "copy")
    capsys.readouterr()
    evaluate(["compare", "cls_scenes/run", "cls_scenes/copy", "--out=both.html"])
    assert capsys.readouterr().out == "Comparison: both.html\n"
    page = Path("both.html").read_text()
    assert "cls_scenes/run" in page
    assert "cls_scenes/copy" in page
    assert {path.suffix for path in Path("both").iterdir()} == {".png", ".svg"}
    with pytest.raises(SystemExit):
        evaluate(["compare", "cls_scenes/run"])
    assert "expected two or more" in capsys.readouterr().err


@pytest.mark.usefixtures("without_figures")
def test_every_data_set_metric_follows_from_the_samples_alone(in_folder):
    """Written without the package: counts summed over images for each draw, then averaged over draws."""
    folder = run_evaluate(in_folder, "seg_scenes.yaml")
    samples = pd.read_parquet(folder / "samples.parquet")
    for key, entry in conditions(folder).items():
        by_draw = []
        for _, rows in samples[samples.condition == key].groupby("draw"):
            hit, predicted, labelled = (
                np.stack(rows[n]).sum(0) for n in ("intersection", "predicted", "labelled")
            )
            union = predicted + labelled - hit
            by_draw.append(((hit / np.maximum(union, 1))[union > 0].mean(), hit.sum() / labelled.sum()))
        expected = np.mean(by_draw, axis=0)
        got = [entry["metrics"][name]["value"] for name in ("mIoU", "pixel_accuracy")]
        assert got == pytest.approx(expected.tolist(), rel=1e-9)


@pytest.mark.usefixtures("without_figures")
def test_a_run_is_repeated_from_its_own_config(in_folder):
    first = run_evaluate(in_folder, "cls_scenes.yaml", "--protocol.seed=5")
    assert yaml.safe_load((first / "config.yaml").read_text())["protocol"]["seed"] == 5
    evaluate(["--config", str(first / "config.yaml"), "--name=again"])
    again = in_folder / "cls_scenes" / "again"
    pd.testing.assert_frame_equal(*(pd.read_parquet(f / "samples.parquet") for f in (first, again)))
    other = run_evaluate(in_folder, "cls_scenes.yaml", "--protocol.seed=6", name="other")
    psnr = [pd.read_parquet(f / "samples.parquet").psnr for f in (first, other)]
    assert not psnr[0].equals(psnr[1])


@pytest.mark.usefixtures("without_figures")
def test_an_interrupted_run_goes_on_where_it_stopped(in_folder, monkeypatch, capsys):
    """Stopped after the first batch of two; the second command measures the third image alone."""
    whole = run_evaluate(in_folder, "cls_scenes.yaml", name="whole")
    kept = ResultsWriter.on_test_batch_end

    def stop_after_the_first(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
        if batch_idx == 1:
            raise RuntimeError("power cut")
        kept(self, trainer, pl_module, outputs, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(ResultsWriter, "on_test_batch_end", stop_after_the_first)
        with pytest.raises(RuntimeError, match="power cut"):
            run_evaluate(in_folder, "cls_scenes.yaml", name="cut")
    evaluate(["report", "cls_scenes/cut"])
    page = (in_folder / "cls_scenes" / "cut" / "report.html").read_text()
    assert "interrupted: there are rows of 2 of 3 images" in page
    assert re.search(r"Not measured yet: clean/-/t0 of images \d+; clean/-/t10 of images \d+; ", page)
    (in_folder / "cls_scenes" / "cut" / "parts" / "000000009.17.partial").write_bytes(b"half a part")
    measured = []
    monkeypatch.setattr(
        ResultsWriter,
        "on_test_batch_end",
        lambda self, *arguments: (measured.append(arguments[3]["index"].tolist()), kept(self, *arguments)),
    )
    with pytest.raises(SystemExit):
        run_evaluate(in_folder, "cls_scenes.yaml", name="cut")
    assert "not empty" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run_evaluate(in_folder, "cls_scenes.yaml", "--protocol.draws=3", "--resume", name="cut")
    assert "draws: 3" in capsys.readouterr().err
    cut = run_evaluate(in_folder, "cls_scenes.yaml", "--resume", name="cut")
    assert [len(set(batch)) for batch in measured] == [1]
    files = [sorted(path.name for path in folder.rglob("*") if path.is_file()) for folder in (whole, cut)]
    assert files[0] == files[1]
    pd.testing.assert_frame_equal(*(pd.read_parquet(folder / "samples.parquet") for folder in (whole, cut)))
    assert run_evaluate(in_folder, "cls_scenes.yaml", "--resume", name="cut").is_dir()  # nothing left to do
    assert len(measured) == 1


def test_nothing_to_go_on_with(in_folder, capsys):
    with pytest.raises(SystemExit):
        evaluate(["--config", "cls_scenes.yaml", f"--runs={in_folder}", "--resume"])
    assert "Leave --resume out" in capsys.readouterr().err


def test_config_is_found_from_anywhere_and_plan_runs_nothing(in_folder, capsys):
    for config in ("seg_scenes.yaml", "seg_scenes", str(CONFIGS / "seg_scenes.yaml")):
        evaluate(["--config", config, "--plan", f"--runs={in_folder}"])
        assert "pgd/same/t396" in capsys.readouterr().out
    assert not list(in_folder.iterdir())


@pytest.mark.parametrize("config", ["seg_scenes.yaml", "ret_scenes.yaml", "det_scenes.yaml"])
@pytest.mark.usefixtures("without_figures")
def test_two_processes_measure_the_same_as_one(in_folder, config):
    """Three images on two processes, two and one."""
    options = EVALUATIONS[config](in_folder)
    run_evaluate(in_folder, config, *options, name="one")
    options += ["--trainer.devices=2", "--trainer.strategy=ddp"]
    assert run_processes(2, lambda rank: run_evaluate(in_folder, config, *options, name="two")) == [0, 0]
    one, two = (in_folder / Path(config).stem / name for name in ("one", "two"))
    assert_same_samples(one, two)
    assert not (two / "parts").exists()


@pytest.mark.usefixtures("without_figures")
def test_wandb_offline_holds_curves_over_noise_level(in_folder, capsys):
    folder = run_evaluate(in_folder, "cls_scenes.yaml", logger="true")
    assert "offline" in capsys.readouterr().out
    logged = read_wandb(folder)
    curves = [row for row in logged.history if "noise_level" in row]
    assert [step["noise_level"] for step in curves] == [0, 10, 145]
    summary = conditions(folder)
    for step in curves:
        for key, entry in summary.items():
            if (entry["t"] or 0) == step["noise_level"]:
                value = step[f"{entry['attack']}/{entry['attacker_sees']}/accuracy"]
                assert value == pytest.approx(entry["metrics"]["accuracy"]["value"]), key
    assert [row["progress/share"] for row in logged.history if "progress/share" in row][-1] == 1
    assert logged.steps == {"noise_level", "progress/seconds"}


TRAININGS = ["seg_scenes", "cls_scenes", "depth_scenes", "ret_scenes", "det_scenes", "denoiser_scenes"]
TINY_SCENES = ["--data.train_images=8", "--data.val_images=4"]


@pytest.mark.parametrize("recipe", TRAININGS)
@pytest.mark.usefixtures("without_figures")
def test_training_is_resumed_and_its_file_is_evaluated(in_folder, recipe, capsys):
    folder = run_train(f"train/{recipe}.yaml", *TINY_SCENES, "--trainer.max_time={milliseconds: 1}", steps=3)
    assert 0 < torch.load(folder / "last.ckpt", weights_only=False)["global_step"] < 3
    assert not (folder / "model.safetensors").exists()
    with pytest.raises(SystemExit):
        run_train(f"train/{recipe}.yaml", *TINY_SCENES, steps=3)
    assert "--resume" in capsys.readouterr().err
    run_train(f"train/{recipe}.yaml", *TINY_SCENES, "--resume", steps=3)
    assert torch.load(folder / "last.ckpt", weights_only=False)["global_step"] == 3
    flag = "--protocol.purifier.model" if recipe == "denoiser_scenes" else "--task.model"
    config = "seg_scenes.yaml" if recipe == "denoiser_scenes" else f"{recipe}.yaml"
    options = [f"{flag}={folder / 'model.safetensors'}", *EVALUATIONS[config](in_folder)]
    assert run_evaluate(in_folder, config, *options).is_dir()


MISTAKES = {
    "unknown class": (["--task=Segmentation"], ["Segmentation"]),
    "unknown key": (["--data.colour=3"], ["data (Scenes) has no colour", "batch_size"]),
    "unknown protocol key": (["--protocol.colour=3"], ["--protocol.colour"]),
    "unknown config": (["--config=nothing.yaml"], ["no config 'nothing.yaml'", "seg_scenes.yaml"]),
    "misspelt config": (["--config=seg_scene.yaml"], ["Did you mean seg_scenes.yaml?"]),
    "noise level too high": (["--protocol.noise_levels=[1000]"], ["t=1000", "0 <= t <= 999"]),
    "noise level negative": (["--protocol.noise_levels=[-1]"], ["t=-1", "0 <= t <= 999"]),
    "sigma out of reach": (["--protocol.noise_levels=[{sigma: -1}]"], ["sigma=-1", "expected 0 < sigma"]),
    "eps negative": (["--protocol.attacks.pgd.init_args.eps=-1"], ["eps=-1", "8/255"]),
    "eps no number": (["--protocol.attacks.pgd.init_args.eps=much"], ["eps='much'", "8/255"]),
    "no such attacker": (["--protocol.attacker_sees=[all]"], ["'all'", "none, same"]),
    "unknown network": (["--task.model=zoo:nothing"], ["'nothing'", "scenes-segmentation"]),
    "missing weights": (["--task.model=nothing.safetensors"], ["nothing.safetensors does not exist"]),
    "wrong size": (["--data.size=7"], ["size=7", "at least 16"]),
    "empty data": (["--data.test_images=0"], ["no test images"]),
    "limit": (["--data.limit=0"], ["limit=0", "at least 1"]),
    "inference mode": (["--trainer.inference_mode=true"], ["inference_mode=False", "Remove"]),
    "unwritable": (["--runs=/proc/nothing"], ["/proc/nothing", "--runs"]),
    "network of another task": (["--task.model=zoo:scenes-classification"], ["[B, channels, h, w]"]),
    "denoiser as task": (["--task.model=zoo:scenes-ddpm"], ["SemanticSegmentation cannot"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named_before_any_work(in_folder, mistake, capsys):
    options, words = MISTAKES[mistake]
    with pytest.raises(SystemExit) as stopped:
        run_evaluate(in_folder, "seg_scenes.yaml", *options)
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words), message
    assert "Traceback" not in message
    assert "[--trainer" not in message  # not every option there is
    assert not list(in_folder.rglob("*.parquet"))


def test_missing_data_is_named_with_the_remedy(in_folder, capsys):
    options = cifar_options(in_folder)
    for config, more, words in (
        ("cls_cifar10.yaml", options, "Download cifar-10"),
        ("seg_camvid.yaml", [], "runs/train"),
    ):
        with pytest.raises(SystemExit):
            run_evaluate(in_folder, config, *more, "--data.root=nowhere")
        assert words in capsys.readouterr().err


def test_the_programs_explain_themselves(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    for program, words in ((evaluate, ("--plan", "noise_levels", "attacker_sees")), (train, ("--resume",))):
        with pytest.raises(SystemExit) as end:
            program(["--help"])
        shown = capsys.readouterr().out
        assert end.value.code == 0
        assert all(word in shown for word in words)
