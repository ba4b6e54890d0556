"""The short YAMLs that name a network by its place on the hub, on tiny models of the same kind."""

import json

import pytest
import torch
import torchvision
import yaml
from data.test_ade20k import write_ade20k
from data.test_coco import write_coco
from data.test_hub_dataset import write_objects
from data.test_image_folder import write_classes
from data.test_nyu_depth import write_pngs
from data.test_revisited import write_revisited
from data.test_voc_segmentation import write_voc
from models.hub import tiny

from dds.cli import evaluate
from dds.command_line import CONFIGS

pytestmark = pytest.mark.usefixtures("without_figures")

SIZE = "--data.size=[32,32]"
FEW = ["--data.limit=2", "--data.batch_size=1", "--protocol.attacks.pgd.init_args.steps=1"]
FEW += ["--trainer.accelerator=cpu", "--logger=false", "--runs=runs", "--name=run"]


def named(make, folder, **options):
    return f"--task.model.init_args.name={tiny.save(make, folder, **options)}"


def seg_voc_torchvision(folder, monkeypatch):
    torch.manual_seed(0)
    name = "lraspp_mobilenet_v3_large"
    state = torchvision.models.get_model(name, weights=None, weights_backbone=None).state_dict()
    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", lambda *given, **options: state)
    return [f"--data.root={write_voc(folder / 'VOC2012')}", SIZE, f"--task.model.init_args.name={name}"]


def seg_ade_segformer(folder, monkeypatch):
    return [f"--data.root={write_ade20k(folder / 'ade')}", SIZE, named(tiny.segformer, folder, labels=150)]


def depth_nyu_depth_anything(folder, monkeypatch):
    return [f"--data.root={write_pngs(folder)}", SIZE, named(tiny.depth_anything, folder)]


def det_coco_detr(folder, monkeypatch):
    return [f"--data.root={write_coco(folder)}", SIZE, named(tiny.detr, folder)]


def det_cppe5_detr(folder, monkeypatch):
    return [
        f"--data.name={write_objects(folder / 'cppe-5')}",
        SIZE,
        named(tiny.conditional_detr, folder, labels=5),
    ]


def ret_roxford_dinov2(folder, monkeypatch):
    return [f"--data.root={write_revisited(folder)}", SIZE, named(tiny.dinov2, folder)]


def cls_imagenet_clip(folder, monkeypatch):
    write_classes(folder / "imagenet" / "val")
    sides, templates = ["--data.resize=32", "--data.crop=32"], "--task.model.init_args.templates=a {}."
    return [f"--data.root={folder / 'imagenet'}", *sides, named(tiny.clip, folder), templates]


HUB = {
    f"{options.__name__}.yaml": options
    for options in (
        seg_voc_torchvision,
        seg_ade_segformer,
        depth_nyu_depth_anything,
        det_coco_detr,
        det_cppe5_detr,
        ret_roxford_dinov2,
        cls_imagenet_clip,
    )
}


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("config", HUB)
def test_ten_lines_run_a_network_of_the_hub(tmp_path, monkeypatch, capsys, config):
    assert len((CONFIGS / config).read_text().splitlines()) <= 10
    evaluate([f"--config={config}", *HUB[config](tmp_path, monkeypatch), *FEW])
    summary = json.loads((tmp_path / "runs" / config.removesuffix(".yaml") / "run/summary.json").read_text())
    keys = [entry["key"] for entry in summary["conditions"]]
    assert keys == ["clean/-/t0", "clean/-/jpeg", "pgd/none/t0", "pgd/none/jpeg", "pgd/same/jpeg"]
    assert "WARNING" not in capsys.readouterr().out


OWN = """
import torch
from torch import nn

dependencies = ["torch"]


def make(classes, wide=False):
    net = nn.Sequential(nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, classes))
    net[0].running_mean.fill_(0.5)
    return net


def pair(classes):
    return make(classes), None
"""


def plan(model, capsys):
    task = {"class_path": "Classification", "init_args": {"model": model}}
    with open("own.yaml", "w") as file:  # noqa: PTH123
        yaml.safe_dump({"task": task}, file)
    evaluate(["--config=cls_scenes.yaml", "--config=own.yaml", "--plan"])
    return " ".join(capsys.readouterr().out.split())


def test_factories_that_do_not_say_what_they_return(tmp_path, capsys):
    (tmp_path / "hubconf.py").write_text(OWN)
    (tmp_path / "unsaid_factory.py").write_text(OWN)
    path = tiny.save(tiny.vit, tmp_path)
    source = {"repo_or_dir": str(tmp_path), "model": "make", "source": "local"}
    of_class = {"pretrained_model_name_or_path": path}
    for model in (
        {"class_path": "unsaid_factory.make", "init_args": {"classes": 8}},
        {"class_path": "torch.hub.load", "init_args": source, "dict_kwargs": {"classes": 8}},
        {"class_path": "transformers.ViTForImageClassification.from_pretrained", "init_args": of_class},
        {
            "class_path": "transformers.AutoModelForImageClassification.from_pretrained",
            "dict_kwargs": of_class,
        },
    ):
        assert "all, with evaluation" in plan(model, capsys)
    with pytest.raises(SystemExit):
        plan({"class_path": "unsaid_factory.pair", "init_args": {"classes": 8}}, capsys)
    assert "model is a tuple; expected a network" in capsys.readouterr().err


def test_the_plan_warns_of_a_network_that_says_nothing_of_its_input(tmp_path, capsys):
    (tmp_path / "silent_factory.py").write_text(OWN)
    model = {"class_path": "silent_factory.make", "init_args": {"classes": 8}}
    said = plan(model, capsys)
    assert "WARNING: nothing says how Sequential wants its input normalised" in said
    assert "Set task.mean and task.std" in said
