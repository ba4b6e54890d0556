"""The YAMLs for public data, end to end: tiny files in the real layouts, untrained networks."""

import re
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import yaml
from conftest import TinyNoiseNetwork
from data.test_ade20k import write_ade20k
from data.test_camvid import write_camvid
from data.test_coco import write_coco
from data.test_depth_pairs import write_folder
from data.test_image_folder import write_classes, write_listed
from data.test_labelled_retrieval import write_labels
from data.test_nyu_depth import write_pngs
from data.test_revisited import write_revisited
from data.test_segmentation_pairs import write_pairs
from data.test_voc_classification import write_voc
from data.test_voc_segmentation import write_voc as write_voc_masks
from models.test_dinov2 import head_state, write_head
from models.test_onnx_network import write as write_operation
from test_cli import EVALUATIONS, TRAININGS, conditions, run_evaluate, run_train
from test_hub_configs import HUB

from dds.attacks import PGD
from dds.callbacks import AttackAndPurify
from dds.cli import evaluate
from dds.command_line import CONFIGS
from dds.models.bf_cnn import BFCNN
from dds.models.ffdnet import FFDNet
from dds.purifiers import DiffusionDenoiser

pytestmark = pytest.mark.usefixtures("without_figures")

WIDTH = 384  # of ViT-S
SMALL_DIFFUSION = {"weights": None, "num_channels": 32, "num_head_channels": 32, "num_res_blocks": 1}
SMALL_VIT = ["--task.model.init_args.pretrained=false"]
FEW = ["--data.limit=2", "--data.batch_size=1", "--protocol.noise_levels=[10]"]
FEW += ["--protocol.attacks.pgd.init_args.steps=1", "--protocol.draws=2", "--trainer.accelerator=cpu"]
SIZE, INSIDE = "--data.size=[32,32]", "--task.input_size=[28,28]"


def override(place, values):
    """A YAML that sets what the command line cannot, such as null."""
    for name in reversed(place.split(".")):
        values = {name: values}
    path = Path(f"{place}.yaml").absolute()
    path.write_text(yaml.safe_dump(values))
    return str(path)


def head(folder, task, **options):
    """A head's file in Meta's layout."""
    path = write_head(folder / "head.pth", head_state(task, width=WIDTH, **options))
    return f"--task.model.init_args.head={path}"


def cls_voc(folder):
    root = f"--data.root={write_voc(folder / 'VOC2012')}"
    trained = run_train("train/cls_voc.yaml", root, SIZE, INSIDE, *SMALL_VIT, name="cls_voc")
    return [root, SIZE, INSIDE, f"--task.model={trained / 'model.safetensors'}"]


def seg_voc(folder):
    root = write_voc_masks(folder / "VOC2012")
    return [f"--data.root={root}", SIZE, INSIDE, *SMALL_VIT, head(folder, "seg", outputs=21)]


def seg_ade(folder):
    root = write_ade20k(folder / "ade")
    return [f"--data.root={root}", SIZE, INSIDE, *SMALL_VIT, head(folder, "seg", outputs=150)]


def depth_nyu(folder):
    root, crop = write_pngs(folder), "--task.crop=[3,28,2,30]"
    return [f"--data.root={root}", SIZE, INSIDE, crop, *SMALL_VIT, head(folder, "depth", layers=4)]


def ret_roxford(folder):
    return [f"--data.root={write_revisited(folder)}", SIZE, INSIDE, *SMALL_VIT]


def cls_imagenet(folder):
    root = folder / "imagenet"
    write_classes(root / "val")
    sides = ["--data.resize=32", "--data.crop=32"]
    return [f"--data.root={root}", *sides, INSIDE, *SMALL_VIT, head(folder, "linear", outputs=1000)]


def cls_imagenet_small(folder):
    write_listed(folder, [("a.jpg", 7), ("b.jpg", 999)])
    sides = ["--data.resize=32", "--data.crop=32"]
    return [f"--data.root={folder}", *sides, f"--task.model.init_args.weights={write_lite(folder)}"]


def ret_landmarks(folder):
    weights = f"--task.model.init_args.model.init_args.weights={write_lite(folder)}"
    return [f"--data.root={write_revisited(folder)}", SIZE, weights]


def ret_groceries(folder):
    weights = f"--task.model.init_args.model.init_args.weights={write_lite(folder)}"
    return [f"--data.root={write_labels(folder)}", SIZE, weights]


def depth_rooms(folder):
    names = [f"frame-{number:06d}" for number in range(10)]
    root = write_folder(folder / "rooms", names, "{}.color.jpg", "{}.depth.png")
    weights = f"--task.model.init_args.model.init_args.weights={write_lite(folder)}"
    trained = run_train("train/depth_rooms.yaml", f"--data.root={root}", SIZE, weights, name="depth_rooms")
    return [f"--data.root={root}", SIZE, f"--task.model={trained / 'model.safetensors'}"]


def write_lite(folder):
    """EfficientNet-Lite0 under the names of another package."""
    state = timm.create_model("tf_efficientnet_lite0").state_dict()
    torch.save({f"_{place}": value for place, value in enumerate(state.values())}, folder / "lite.pth")
    return folder / "lite.pth"


def det_coco(folder):
    untrained = {"weights": None, "weights_backbone": None}
    small = ["--config", override("task.init_args.model.init_args", untrained)]
    return [*small, f"--data.root={write_coco(folder)}", SIZE, "--task.model.dict_kwargs={min_size: 64}"]


STUDY = {
    f"{options.__name__}.yaml": options
    for options in (cls_voc, seg_voc, seg_ade, depth_nyu, ret_roxford, cls_imagenet, det_coco)
}
SMALL_STUDY = {
    f"{options.__name__}.yaml": options
    for options in (cls_imagenet_small, ret_landmarks, ret_groceries, depth_rooms)
}


@pytest.mark.parametrize("config", STUDY)
def test_study_end_to_end(tmp_path, monkeypatch, config):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    small = override("protocol.purifier.init_args.model.init_args", SMALL_DIFFUSION)
    options = ["--config", small, *STUDY[config](tmp_path), f"--experiment={Path(config).stem}", *FEW]
    check(run_evaluate(tmp_path, config, *options))


@pytest.mark.parametrize("config", SMALL_STUDY)
def test_small_study_end_to_end(tmp_path, monkeypatch, config):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    options = [*SMALL_STUDY[config](tmp_path), write_ffdnet(tmp_path), *FEW]
    check(run_evaluate(tmp_path, config, *options))


def test_detection_by_yolox(tmp_path, monkeypatch, shared_data):
    monkeypatch.chdir(tmp_path)
    root, weights = (
        f"--data.root={shared_data / 'coco64'}",
        shared_data / "weights/yolox_nano/yolox_nano.onnx",
    )
    options = [root, f"--task.model.init_args.weights={weights}", "--data.size=[96,96]"]
    entries = conditions(
        run_evaluate(tmp_path, "det_coco_small.yaml", *options, write_ffdnet(tmp_path), *FEW)
    )
    assert entries["clean/-/t0"]["metrics"]["AP50"]["value"] > 0


def seg_camvid_deeplab(folder):
    network = write_onnx(folder / "deeplab.onnx", 19)
    path = f"--task.model.init_args.model.init_args.path={network}"
    return [f"--data.root={write_camvid(folder / 'CamVid')}", SIZE, path]


def seg_coco_deeplab(folder):
    network = write_onnx(folder / "deeplab.onnx", 21)
    write_pairs(folder / "coco", np.array([[0, 1, 7, 200]], np.uint8).repeat(2, 0), end="")
    return [f"--data.root={folder / 'coco'}", SIZE, f"--task.model.init_args.path={network}"]


def depth_rooms_meter(folder, names=("{}.color.jpg", "{}.depth.png")):
    root = write_folder(folder / "depth", ["frame-0", "frame-1"], *names)
    network = write_onnx(folder / "meter.onnx", 1)
    return [f"--data.root={root}", SIZE, f"--task.model.init_args.path={network}"]


def depth_kitti_meter(folder):
    return depth_rooms_meter(folder, ("{}_rgb.png", "{}_depth.png"))


def write_onnx(path, outputs):
    """A convolution."""
    return write_operation(path, "Conv", kernel=torch.rand(outputs, 3, 1, 1).numpy())


NETWORKS = (seg_camvid_deeplab, seg_coco_deeplab, depth_rooms_meter, depth_kitti_meter)
OF_ONNX = {f"{options.__name__}.yaml": options for options in NETWORKS}


@pytest.mark.parametrize("config", OF_ONNX)
def test_networks_of_onnx_files_end_to_end(tmp_path, monkeypatch, config):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    options = [*OF_ONNX[config](tmp_path), "--task.input_size=[32,32]", write_ffdnet(tmp_path), *FEW]
    entries = conditions(run_evaluate(tmp_path, config, *options))
    assert list(entries) == ["clean/-/t0", "clean/-/t10", "pgd/none/t0", "pgd/none/t10", "pgd/same/t10"]
    utility = "RMSE" if config.startswith("depth") else "mIoU"
    clean, attacked = (entries[key]["metrics"][utility]["value"] for key in ("clean/-/t0", "pgd/none/t0"))
    assert attacked > clean if utility == "RMSE" else attacked <= clean


@pytest.mark.parametrize("purifier", ["bf_cnn", "ffdnet"])
def test_purifiers_laid_over_another_config(tmp_path, monkeypatch, purifier):
    monkeypatch.chdir(tmp_path)
    network = {"bf_cnn": BFCNN, "ffdnet": FFDNet}[purifier]()
    prefix = {"bf_cnn": "", "ffdnet": "module."}[purifier]
    torch.save({prefix + name: value for name, value in network.state_dict().items()}, "denoiser.pth")
    weights = "--protocol.purifier.model.init_args.weights=denoiser.pth"
    options = ["--config", f"purifier/{purifier}.yaml", weights, *FEW, "--data.size=32"]
    evaluate(["--config", "cls_scenes.yaml", *options, "--runs=.", "--name=run", "--logger=false"])
    check(tmp_path / f"cls_scenes+{purifier}" / "run")


def write_ffdnet(folder):
    torch.save(
        {f"module.{name}": value for name, value in FFDNet().state_dict().items()}, folder / "ffdnet.pth"
    )
    return f"--protocol.purifier.model.init_args.weights={folder / 'ffdnet.pth'}"


def check(folder):
    entries = conditions(folder)
    assert list(entries) == ["clean/-/t0", "clean/-/t10", "pgd/none/t0", "pgd/none/t10", "pgd/same/t10"]
    for entry in entries.values():
        assert -1 <= entry["metrics"]["feature_cosine"]["value"] <= 1 + 1e-6
    assert entries["clean/-/t0"]["metrics"]["feature_cosine"]["value"] == pytest.approx(1, abs=1e-5)


HEADS = {"seg_voc": write_voc_masks, "depth_nyu": write_pngs}


@pytest.mark.parametrize("recipe", HEADS)
def test_heads_are_trained_on_a_frozen_backbone(tmp_path, monkeypatch, recipe):
    monkeypatch.chdir(tmp_path)
    options = [f"--data.root={HEADS[recipe](tmp_path / 'data')}", SIZE, *SMALL_VIT]
    inside = [] if recipe == "depth_nyu" else [INSIDE]
    folder = run_train(f"train/{recipe}.yaml", *options, *inside, "--data.batch_size=1")
    assert (folder / "model.safetensors").is_file()


STUDY_OF_SCENES = [f"study_{task}_scenes.yaml" for task in ("cls", "seg", "depth", "ret", "det")]


@pytest.mark.parametrize("config", STUDY_OF_SCENES)
def test_study_of_the_scenes(tmp_path, config):
    few = [
        "--data.size=32",
        "--data.test_images=12",
        "--data.limit=1",
        "--protocol.noise_levels=[10]",
        "--protocol.draws=1",
    ]
    short = [f"--protocol.attacks.{name}.init_args.steps=1" for name in ("pgd", "mifgsm", "sia", "diffusion")]
    short += ["--protocol.attacks.strongest.init_args.calls=20"]
    evaluate(["--config", config, *few, *short, f"--runs={tmp_path}", "--name=run", "--logger=false"])
    entries = conditions(tmp_path / Path(config).stem / "run")
    defences = ["t0", "t10", "resize", "jpeg", "blur", "median", "bits"]
    for attack in ("clean", "brightness", "contrast", "noise"):
        assert [f"{attack}/-/{defence}" for defence in defences] == [
            k for k in entries if k.split("/")[0] == attack
        ]
    for attack in ("pgd", "mifgsm", "sia", "strongest", "diffusion"):
        sees = {key.split("/")[1] for key in entries if key.split("/")[0] == attack}
        assert sees == ({"same", "t145"} if attack == "diffusion" else {"none", "same", "t145"})


SIZED = [path.name for path in CONFIGS.glob("*.yaml") if "# Size:" in path.read_text()]


@pytest.mark.parametrize("config", SIZED)
def test_the_size_that_a_yaml_states_is_that_of_its_plan(config):
    text = (CONFIGS / config).read_text()
    comment = " ".join(line.removeprefix("#") for line in text.splitlines() if line.startswith("#"))
    stated = re.findall(r"(\d+) \+ (\d+)", comment.split("Size:")[1])
    protocol = yaml.safe_load(text)["protocol"]
    attacks = {name: PGD(**attack["init_args"]) for name, attack in protocol["attacks"].items()}
    known = {name: protocol[name] for name in ("noise_levels", "attacker_sees", "draws")}
    cost = AttackAndPurify(DiffusionDenoiser(TinyNoiseNetwork()), attacks=attacks, **known).cost
    planned = [(calls.forward, calls.backward) for calls in (cost.task, cost.purifier)]
    assert [(int(forward), int(backward)) for forward, backward in stated] == planned


def test_every_shipped_yaml_is_tested():
    others = {"det_coco_small.yaml", "sanity_scenes.yaml"}
    tested = {*EVALUATIONS, *STUDY, *SMALL_STUDY, *OF_ONNX, *STUDY_OF_SCENES, *HUB, *others}
    assert {path.name for path in CONFIGS.glob("*.yaml")} == tested
    trained = {*TRAININGS, *HEADS, "cls_voc", "depth_rooms", "seg_camvid", "denoiser_camvid"}
    assert {path.stem for path in CONFIGS.glob("train/*.yaml")} == trained
    assert {path.stem for path in CONFIGS.glob("purifier/*.yaml")} == {"bf_cnn", "ffdnet"}
