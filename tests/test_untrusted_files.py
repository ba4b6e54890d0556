"""Files that were made to do harm: every one is refused with a message, and nothing of it is run."""

import ast
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from data.test_cifar10 import write_npz
from data.test_coco import content as coco_content
from data.test_coco import write_coco
from data.test_image_folder import write_listed
from data.test_labelled_retrieval import ROWS, write_labels
from data.test_nyu_depth import write_pngs
from data.test_nyu_labelled import HEIGHT, WIDTH, write_mat
from data.test_revisited import content as revisited_content
from data.test_revisited import write_revisited
from data.test_voc_classification import write_voc
from data.test_yolo_boxes import write_yolo
from PIL import EpsImagePlugin, Image
from safetensors.torch import save_file

import dds
from dds.cli import evaluate
from dds.data import (
    Cifar10,
    CocoDetection,
    ImageFolder,
    LabelledRetrieval,
    NyuDepth,
    RevisitedRetrieval,
    VocClassification,
    YoloBoxes,
)
from dds.data.depth_files import DepthFiles
from dds.data.files import MAX_PIXELS, read_image, read_lines, read_values
from dds.data.listing import inside
from dds.data.nyu_labelled import NyuLabelled
from dds.data.plain_pickle import read_plain_pickle
from dds.errors import InputError
from dds.models.diffusion.diffusers_folder import DiffusersFolder
from dds.models.dinov2.dinov2 import DinoDepth
from dds.models.weights import load_self_describing, read_weights
from dds.runs import RunFolder
from dds.runs.samples import read_rows
from dds.training import train


class Harm:
    """Makes the folder `harm` where it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("harm",)


@pytest.fixture(autouse=True)
def unharmed(tmp_path, monkeypatch):
    """Run every test in an empty folder, and see afterwards that nothing ran."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not Path("harm").exists()


def test_the_harm_is_real():
    pickle.loads(pickle.dumps(Harm()))
    Path("harm").rmdir()
    yaml.unsafe_load("!!python/object/apply:os.mkdir [harm]")
    Path("harm").rmdir()


def test_each_dangerous_call_has_one_place():
    """A new reader of files goes through the functions below, whose refusals are tested here."""
    dangerous = {"Image.open", "torch.load", "eval", "exec", "importlib.import_module", "import_module"}
    modules = {"pickle", "yaml", "torch.hub", "torch.jit", "subprocess", "shelve", "marshal"}
    found: dict[str, set[str]] = {}
    package = Path(dds.__file__).parent
    for path in package.rglob("*.py"):
        text = path.read_text()
        assert not any(word in text for word in ("allow_pickle=True", "weights_only=False", "os.system"))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call):
                call = ast.unparse(node.func)
                if call in dangerous or call.rpartition(".")[0] in modules:
                    found.setdefault(call, set()).add(path.relative_to(package).as_posix())
    assert found.pop("importlib.import_module") == {
        "data/nyu_labelled.py",  # h5py
        "models/diffusion/empty_prompt.py",  # transformers
        "models/weights.py",  # BUILDERS alone
        "models/onnx_network.py",  # onnx2torch
    }
    named_by_a_yaml = {"attacks/libraries/art_attack.py", "results/interrupted.py"}
    named_by_an_option = {"command_line/importing.py"}
    assert found.pop("import_module") == named_by_a_yaml | named_by_an_option
    assert found.pop("pickle.UnpicklingError") == {"data/plain_pickle.py"}
    assert found.keys() - {"yaml.safe_load", "yaml.safe_dump"} == {"Image.open", "torch.load"}
    drawn_by_itself = {"loggers/loggers.py", "loggers/wandb_log.py"}
    assert found["Image.open"] == {"data/files.py", *drawn_by_itself}
    assert found["torch.load"] == {"models/weights.py"}


# Weights


def zip_checkpoint(path):
    torch.save({"weight": torch.zeros(2), "more": Harm()}, path)


def legacy_checkpoint(path):
    torch.save({"weight": Harm()}, path, _use_new_zipfile_serialization=False)


def plain_pickle(path):
    path.write_bytes(pickle.dumps(Harm()))


def tar_checkpoint(path):
    with tarfile.open(path, "w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            data = pickle.dumps(Harm())
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


CHECKPOINTS = [zip_checkpoint, legacy_checkpoint, plain_pickle, tar_checkpoint]


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("write", CHECKPOINTS)
def test_a_checkpoint_with_code_is_refused_with_the_remedy(tmp_path, write):
    write(tmp_path / "net.pth")
    with pytest.raises(InputError, match=r"net\.pth holds more.*Save model\.state_dict\(\) again") as caught:
        read_weights(tmp_path / "net.pth")
    assert "weights_only" not in str(caught.value)  # torch's advice to load it all the same


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("write", CHECKPOINTS)
def test_libraries_that_ask_for_code_do_not_get_it(tmp_path, write):
    write(tmp_path / "net.pth")
    with pytest.raises((pickle.UnpicklingError, RuntimeError)):
        torch.load(tmp_path / "net.pth", weights_only=False)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("log", [Harm(), np.array([Harm()], dtype=object), np.dtype("O")])
def test_the_numbers_that_a_head_may_hold_open_no_way(tmp_path, log):
    torch.save({"meta": {"log": log}, "state_dict": {}}, tmp_path / "head.pth")
    with pytest.raises(InputError, match="head"):
        DinoDepth("s", str(tmp_path / "head.pth"), pretrained=False)


@pytest.mark.parametrize(
    "content", [b"", b"<html>404</html>", b"PK\x03\x04", b"\x80\x02}q\x00", b"\x80\x02K\x01."]
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_is_no_checkpoint_is_named(tmp_path, content, suffix):
    path = tmp_path / f"net{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"net\."):
        read_weights(path)


def test_weights_without_names(tmp_path):
    torch.save(torch.zeros(3), tmp_path / "net.pth")
    with pytest.raises(InputError, match=r"net\.pth is a Tensor; expected tensors by name"):
        read_weights(tmp_path / "net.pth")


def describe(path, description):
    save_file({"weight": torch.zeros(1)}, path, metadata={"network": description})
    return path


FOREIGN = {
    "os.mkdir": {"path": "harm"},
    "os.system": {"command": "mkdir harm"},
    "subprocess.Popen": {"args": ["mkdir", "harm"]},
    "builtins.exec": {"source": "import os; os.mkdir('harm')"},
    "torch.hub.download_url_to_file": {"url": "file:///etc/hostname", "dst": "harm"},
    "torch.nn.Linear": {"in_features": 1, "out_features": 1},
    "torchvision.datasets.utils.download_url": {"url": "file:///etc/hostname", "root": "harm"},
    "torchvision.datasets.utils.Path.mkdir": {"self": "harm"},
    "torchvision.datasets.FakeData": {},
    "timm.models.load_checkpoint": {"model": None, "checkpoint_path": "net.pth"},
    "segmentation_models_pytorch.from_pretrained": {"pretrained_model_name_or_path": "somebody/something"},
    "diffusers.utils.export_utils.os.mkdir": {"path": "harm"},
    "dds.models.weights.importlib.import_module": {"name": "antigravity"},
    "dds.models.weights.save_file": {"tensors": {}, "filename": "harm"},
    "dds.models.download.cached": {"url": "file:///etc/hostname"},
    "dds.models.zero_shot": {"name": "somebody/something", "classes": ["a", "b"]},
    "dds.attacks.ArtAttack": {"attack": "antigravity.x"},
    "dds.training.train": {"arguments": ["--config=denoiser_scenes"]},
    "dds": {},
    "": {},
}


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("class_path", FOREIGN)
def test_a_weights_file_calls_nothing_but_networks(tmp_path, class_path, nested):
    spec = {"class_path": class_path, "init_args": FOREIGN[class_path]}
    if nested:
        spec = {"class_path": "dds.models.LinearHead", "init_args": {"backbone": spec, "outputs": 2}}
    path = describe(tmp_path / "net.safetensors", json.dumps(spec))
    with pytest.raises(
        InputError, match=r"net\.safetensors (names|describes a network that cannot be built)"
    ):
        load_self_describing(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["net.safetensors"]


def test_a_weights_file_fetches_nothing_from_the_hub(tmp_path, monkeypatch):
    import transformers

    asked = []

    def refuse(name, **options):
        asked.append((name, options["local_files_only"]))
        raise OSError("not in the cache")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", refuse)
    spec = {"class_path": "dds.models.huggingface", "init_args": {"name": "some/thing", "pretrained": True}}
    path = describe(tmp_path / "net.safetensors", json.dumps(spec))
    with pytest.raises(InputError, match="some/thing cannot be loaded: not in the cache"):
        load_self_describing(path)
    assert asked == [("some/thing", True)]


@pytest.mark.parametrize(
    "description",
    [
        "not JSON",
        "[" * 100_000,
        "[]",
        "{}",
        '{"class_path": 7}',
        '{"class_path": "timm.absent.Net"}',
        '{"class_path": "timm.Absent"}',
        '{"class_path": "dds.models.bf_cnn.BFCNN", "init_args": {"colour": 1}}',
        '{"class_path": "dds.models.bf_cnn.BFCNN", "init_args": 5}',
        '{"class_path": "dds.models.cifar10.CifarResNet", "init_args": {"num_classes": 1000000000000000}}',
        '{"class_path": "dds.models.cifar10.CifarResNet", "mean": [0]}',
    ],
)
def test_a_description_that_makes_no_network(tmp_path, description):
    path = describe(tmp_path / "net.safetensors", description)
    with pytest.raises(InputError, match=r"net\.safetensors describes a network that cannot be built"):
        load_self_describing(path)


@pytest.mark.parametrize("content", ["[1]", "[" * 100_000, "{", "null"])
def test_a_model_folders_configuration_of_another_form(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match=r"config\.json"):
        DiffusersFolder.find(str(tmp_path)).read_json("config.json")


# YAML and run folders

TAGS = [
    "!!python/object/apply:os.mkdir [harm]",
    "!!python/object/new:os.mkdir [harm]",
    "!!python/name:os.mkdir",
    "!!python/module:antigravity",
]


@pytest.mark.parametrize("tag", TAGS)
def test_a_config_makes_no_objects_by_tags(tmp_path, capsys, tag):
    (tmp_path / "evil.yaml").write_text(f"experiment: {tag}\n")
    with pytest.raises(SystemExit) as caught:
        evaluate(["--config=evil.yaml", "--plan"])
    assert caught.value.code == 2
    assert "python/" in capsys.readouterr().err


def test_a_config_names_no_class_of_another_kind(capsys):
    """A YAML is trusted like a script, yet what stands for a network must be one."""
    popen = {"class_path": "subprocess.Popen", "init_args": {"args": ["mkdir", "harm"]}}
    with pytest.raises(SystemExit) as caught:
        evaluate(["--config=seg_scenes.yaml", f"--task.model={json.dumps(popen)}", "--plan"])
    assert caught.value.code == 2
    assert "subprocess.Popen" in capsys.readouterr().err


@pytest.mark.parametrize("tag", TAGS)
def test_the_config_of_a_run_folder_makes_no_objects(tmp_path, tag):
    (tmp_path / "config.yaml").write_text(f"task: {tag}\n")
    with pytest.raises((yaml.YAMLError, InputError)):
        RunFolder(tmp_path).check_same_work("task: 1")


def test_the_samples_of_a_run_folder_make_no_objects(tmp_path):
    """Arrow's old extension types were pickled in a file's header (CVE-2023-47248)."""
    kinds = {
        "ARROW:extension:name": "arrow.py_extension_type",
        "ARROW:extension:metadata": pickle.dumps(Harm()),
    }
    column = pa.field("index", pa.int64(), metadata=kinds)
    pq.write_table(pa.table([[4]], schema=pa.schema([column])), tmp_path / "samples.parquet")
    assert read_rows([tmp_path / "samples.parquet"])["index"].to_pylist() == [4]


def test_a_training_is_not_resumed_from_code(tmp_path, capsys):
    folder = tmp_path / "runs" / "train" / "denoiser_scenes"
    folder.mkdir(parents=True)
    zip_checkpoint(folder / "last.ckpt")
    small = [
        "--data.train_images=4",
        "--data.val_images=2",
        "--data.batch_size=2",
        "--trainer.accelerator=cpu",
    ]
    with pytest.raises(SystemExit):
        train(["--config=train/denoiser_scenes.yaml", "--resume", *small])
    assert "that could run code" in capsys.readouterr().err


# Paths in annotations


def coco(root, name):
    write_coco(root)
    path = root / "annotations" / "instances_val2017.json"
    path.write_text(path.read_text().replace("000000037777.jpg", json.dumps(name(root / "val2017"))[1:-1]))
    return CocoDetection(str(root)).test_dataset


def revisited_queries(root, name):
    gnd = revisited_content()
    gnd["qimlist"][0] = name(root / "jpg").removesuffix(".jpg")
    return RevisitedRetrieval(write_revisited(root, gnd)).test_dataset


def revisited_database(root, name):
    gnd = revisited_content()
    gnd["imlist"][0] = name(root / "jpg").removesuffix(".jpg")
    return RevisitedRetrieval(write_revisited(root, gnd)).database


def labelled_queries(root, name):
    return LabelledRetrieval(write_labels(root, [*ROWS, f"{name(root)},milk,query"])).test_dataset


def labelled_gallery(root, name):
    return LabelledRetrieval(write_labels(root, [*ROWS, f"{name(root)},milk,gallery"])).database


def image_folder(root, name):
    write_listed(root, [("a.png", 0)])
    with (root / "labels.csv").open("a") as file:
        file.write(f"\n{name(root / 'images')},1\n")
    return ImageFolder(str(root)).test_dataset


def voc(root, name):
    write_voc(root)
    with (root / "ImageSets" / "Main" / "val.txt").open("a") as file:
        file.write(f"{name(root / 'JPEGImages').removesuffix('.jpg')}\n")
    return VocClassification(str(root)).test_dataset


def nyu_image(root, name, line="{} bathroom/sync_depth_00045.png 518\n"):
    path = write_pngs(root) / "nyudepthv2_test_files_with_gt.txt"
    path.write_text(line.format(name(root / "official_splits/test")))
    return NyuDepth(str(root)).test_dataset


def nyu_depth(root, name):
    return nyu_image(root, name, "bathroom/rgb_00045.jpg {} 518\n")


def relative(base):
    return os.path.relpath("secret.jpg", base)


OUTSIDE = {
    "parents": relative,
    "through a folder": lambda base: f"folder/../{relative(base)}",
    "absolute": lambda base: str(Path("secret.jpg").resolve()),
    "backslashes": lambda base: relative(base).replace("/", "\\"),
    "drive": lambda base: "C:secret.jpg",
    "share": lambda base: r"\\host\share\secret.jpg",
}


@pytest.mark.parametrize("outside", OUTSIDE)
@pytest.mark.parametrize(
    "write",
    [
        coco,
        image_folder,
        labelled_gallery,
        labelled_queries,
        nyu_depth,
        nyu_image,
        revisited_database,
        revisited_queries,
        voc,
    ],
)
def test_annotations_name_no_file_outside_their_folder(tmp_path, write, outside):
    """The file that is named exists, and would do as an image."""
    (tmp_path / "data" / "set").mkdir(parents=True)
    Image.new("RGB", (64, 48)).save("secret.jpg")
    words = "leads out of"
    if write in (nyu_depth, nyu_image) and outside == "absolute":
        words = "do not exist"  # a leading slash is usual in these lists, and means their folder
    with pytest.raises(InputError, match=words):
        write(tmp_path / "data" / "set", OUTSIDE[outside])()


@pytest.mark.parametrize("name", ["a.jpg", "night/a.jpg", "./a.jpg", "a..b.jpg", "...", "räume/~a.jpg"])
def test_names_below_the_folder_are_left_alone(tmp_path, name):
    assert inside(tmp_path, name, "labels.csv") == tmp_path / name


def test_links_below_the_folder_are_followed(tmp_path):
    """Data sets are often laid out by links to a larger disk."""
    root = tmp_path / "set"
    write_listed(root, [("night/a.png", 0)])
    (root / "images" / "night").rename(tmp_path / "disk")
    (root / "images" / "night").symlink_to(tmp_path / "disk")
    assert len(ImageFolder(str(root)).test_dataset()) == 1


# Images


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write_png(path, width, height, extra=b"", colour=2):
    """Write a PNG of any size that its header may claim, with hardly any pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + extra + pixels + chunk(b"IEND", b""))
    return path


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("width", "height"),
    [(60000, 60000), (10000, 10000), (8193, 8192), (65000, 1), (10, 2000), (2**31 - 1, 1)],
)
def test_a_bomb_is_refused_by_its_header(tmp_path, width, height):
    path = write_png(tmp_path / "bomb.png", width, height)
    assert path.stat().st_size < 200
    with pytest.raises(InputError, match=rf"bomb\.png.*{width}.*{MAX_PIXELS:,}|bomb\.png.*{width * height}"):
        read_image(path)


def test_the_largest_image_is_opened(tmp_path):
    path = write_png(tmp_path / "large.png", 8192, 8192)
    with pytest.raises(InputError, match="truncated"):  # its size is accepted, its pixels are not there
        read_image(path)


def test_a_bomb_is_refused_before_boxes_are_scaled_to_it(tmp_path):
    write_yolo(tmp_path, ["0 0.5 0.5 1 1"])
    image = next((tmp_path / "images" / "val2017").iterdir())
    write_png(image, 60000, 60000)
    with pytest.raises(InputError, match=f"{image.name} is not decoded"):
        YoloBoxes(str(tmp_path)).test_dataset()


def test_text_in_an_image_is_not_unpacked_without_end(tmp_path):
    bomb = chunk(b"zTXt", b"comment\0\0" + zlib.compress(bytes(50_000_000)))
    with pytest.raises(InputError, match=r"text\.png cannot be read as an image"):
        read_image(write_png(tmp_path / "text.png", 4, 4, bomb))


@pytest.mark.parametrize("size", [(0, 0), (0, 4), (4, 0)])
def test_an_image_without_pixels(tmp_path, size):
    with pytest.raises(InputError, match=r"none\.png"):
        read_image(write_png(tmp_path / "none.png", *size))


def test_no_other_program_is_asked_to_read_an_image(tmp_path, monkeypatch):
    """Pillow hands EPS, under whatever name, to Ghostscript."""
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: Path("harm").mkdir())
    Image.new("RGB", (4, 4)).save(tmp_path / "image.eps")
    (tmp_path / "image.eps").rename("image.jpg")
    with pytest.raises(InputError, match=r"image\.jpg.*must be converted"):
        read_image(tmp_path / "image.jpg")


@pytest.mark.parametrize("kind", ["int32", "uint16", "float32"])
def test_more_than_8_bits_are_not_cut_off(tmp_path, kind):
    Image.fromarray(np.full((4, 4), 40_000).astype(kind)).save(tmp_path / "deep.tiff")
    with pytest.raises(InputError, match=r"deep\.tiff has 16 bits or more"):
        read_image(tmp_path / "deep.tiff")
    assert read_values(tmp_path / "deep.tiff").double().unique().item() == 40_000


def test_colours_of_16_bits_are_not_cut_off_either(tmp_path):
    rows = zlib.compress(b"".join(b"\0" + bytes(2 * 6) for _ in range(2)))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0))
    content = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    (tmp_path / "deep.png").write_bytes(content)
    (tmp_path / "deep.ppm").write_bytes(b"P6\n1 1\n65535\n" + bytes(6))
    for name in ("deep.png", "deep.ppm"):
        with pytest.raises(InputError, match=rf"{name} has 16 bits or more"):
            read_image(tmp_path / name)


def test_palettes_grey_and_cmyk_become_rgb(tmp_path):
    for mode, colour, suffix in (
        ("P", 1, "png"),
        ("1", 1, "png"),
        ("L", 9, "jpg"),
        ("CMYK", (0, 9, 99, 0), "jpg"),
    ):
        image = Image.new(mode, (8, 8), colour)
        image.save(tmp_path / f"image.{suffix}", **({"quality": 100} if suffix == "jpg" else {}))
        expected = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
        difference = read_image(tmp_path / f"image.{suffix}").int() - expected.int()
        assert difference.abs().max() <= 2


def test_a_palette_that_is_not_there(tmp_path):
    pixels = read_image(write_png(tmp_path / "palette.png", 8, 8, colour=3))
    assert pixels.shape == (3, 8, 8)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of damaged TIFF
@pytest.mark.parametrize("suffix", ["bmp", "jpg", "png", "ppm", "tiff", "webp"])
def test_damage_anywhere_gives_an_image_or_a_message(tmp_path, suffix):
    random = np.random.default_rng(0)
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(random.integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(path)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    for trial in range(60):
        damaged = whole[: random.integers(len(whole))] if trial % 4 == 0 else whole.copy()
        places = random.integers(0, min(len(damaged), 100) + 1, size=3)
        damaged = np.array([*damaged, 0], np.uint8)
        damaged[places] = random.integers(0, 256, 3)
        path.write_bytes(damaged.tobytes())
        with suppress(InputError):
            assert read_image(path).shape[0] == 3


# Arrays


def test_an_archive_of_objects(tmp_path):
    write_npz(tmp_path / "set.npz", labels=np.array([Harm()] * 5, dtype=object))
    with pytest.raises(InputError, match=r"set\.npz cannot be read as arrays"):
        Cifar10(str(tmp_path / "set.npz")).test_dataset()


def test_an_archive_that_unpacks_to_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr("dds.data.cifar10._MAX_BYTES", 10**6)
    path = tmp_path / "set.npz"
    np.savez_compressed(path, images=np.zeros((400, 32, 32, 3), np.uint8), labels=np.zeros(400, int))
    assert path.stat().st_size < 10_000
    with pytest.raises(
        InputError, match=r"set\.npz would unpack to 1,228,928 bytes; expected at most 1,000,000"
    ):
        Cifar10(str(path)).test_dataset()


def claimed(shape, data=b"\0" * 100, kind="|u1"):
    """Return an `.npy` file whose header claims any shape."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
    return file.getvalue() + data


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 half", b"<html>404", claimed((5,)), pickle.dumps(Harm())]
)
def test_what_is_no_archive_is_named(tmp_path, content):
    (tmp_path / "set.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"set\.npz cannot be read as arrays"):
        Cifar10(str(tmp_path / "set.npz")).test_dataset()


@pytest.mark.parametrize("images", [10**9, 10**15, 10**30])
def test_an_array_that_claims_more_than_its_archive_holds(tmp_path, images):
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as archive:
        archive.writestr("images.npy", claimed((images, 32, 32, 3)))
        archive.writestr("labels.npy", claimed((images,)))
    with pytest.raises(InputError, match=r"set\.npz cannot be read as arrays"):
        Cifar10(str(tmp_path / "set.npz")).test_dataset()


def test_official_batches_that_are_not_the_official_ones(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in ("test_batch", "batches.meta", *(f"data_batch_{number}" for number in range(1, 6))):
        (folder / name).write_bytes(pickle.dumps({"data": Harm(), "label_names": Harm()}))
    with pytest.raises(InputError, match=r"Download cifar-10-python\.tar\.gz"):
        Cifar10(str(tmp_path)).test_dataset()


def depth_of(tmp_path, content):
    Image.new("RGB", (10, 10)).save("image.png")
    (tmp_path / "depth.npy").write_bytes(content)
    return DepthFiles([(tmp_path / "image.png", tmp_path / "depth.npy")], 1.0)


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize(
    "content",
    [b"", pickle.dumps(Harm()), claimed((60000, 60000)), claimed((2**40, 2**40)), claimed((5,), b"\0" * 5)],
)
def test_depth_that_is_no_array(tmp_path, content):
    with pytest.raises(InputError, match=r"depth\.npy"):
        depth_of(tmp_path, content)[0]


def test_depth_of_objects(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([[Harm()]], dtype=object))
    with pytest.raises(InputError, match=r"depth\.npy cannot be read as an array of numbers"):
        depth_of(tmp_path, (tmp_path / "objects.npy").read_bytes())[0]


def test_depth_of_an_absurd_size_that_is_really_there(tmp_path):
    """A file with holes takes no room on the disk until it is read."""
    depths = depth_of(tmp_path, claimed((60000, 60000), b""))
    os.truncate("depth.npy", 4 * 10**9)
    with pytest.raises(InputError, match=r"depth\.npy has 60000 x 60000 pixels; expected at most 67,108,864"):
        depths[0]


def test_values_of_depth_are_read_as_before(tmp_path):
    depth = np.arange(1, 101, dtype=np.float64).reshape(10, 10)
    np.save(tmp_path / "depth.npy", depth)
    Image.new("RGB", (10, 10)).save("image.png")
    found = DepthFiles([(tmp_path / "image.png", tmp_path / "depth.npy")], 2.0, invalid=[4.0])[0]["depth"]
    assert torch.equal(found, torch.from_numpy(np.where(depth == 4, 0, depth / 2)).float())
    assert (np.load(tmp_path / "depth.npy") == depth).all()  # what is unknown is struck out in memory alone


def opened(path):
    return NyuLabelled(path, "testNdxs", "depths", None, augment=False)


def replace_array(path, make):
    with h5py.File(path, "r+") as file:
        del file["images"]
        make(file)


def linked(file):
    with h5py.File("secret.h5", "w") as other:
        other["images"] = np.zeros((5, 3, WIDTH, HEIGHT), np.uint8)
    file["images"] = h5py.ExternalLink("secret.h5", "images")


def stored_elsewhere(file):
    Path("secret.bin").write_bytes(bytes(10_000))
    shape = (5, 3, WIDTH, HEIGHT)
    file.create_dataset("images", shape, "u1", external=[("secret.bin", 0, h5py.h5f.UNLIMITED)])


def assembled(file):
    layout = h5py.VirtualLayout((5, 3, WIDTH, HEIGHT), "u1")
    layout[:] = h5py.VirtualSource("secret.h5", "images", (5, 3, WIDTH, HEIGHT))
    file.create_virtual_dataset("images", layout)


def group(file):
    file.create_group("images")


@pytest.mark.parametrize("make", [linked, stored_elsewhere, assembled, group])
def test_an_hdf5_file_shows_no_other_file(tmp_path, make):
    path, *_ = write_mat(tmp_path)
    replace_array(path, make)
    with pytest.raises(InputError, match="expected images, as arrays of its own"):
        opened(path)


def test_an_hdf5_file_of_absurd_images(tmp_path):
    path, *_ = write_mat(tmp_path)
    with h5py.File(path, "w") as file:
        chunks = (1, 1, 64, 64)
        file.create_dataset("images", (5, 3, 60000, 60000), "u1", chunks=chunks)
        file.create_dataset("depths", (5, 60000, 60000), "f4", chunks=chunks[1:])
    assert path.stat().st_size < 10_000
    with pytest.raises(InputError, match=r"labeled\.mat has 60000 x 60000 pixels"):
        opened(path)


@pytest.mark.parametrize("kind", [h5py.string_dtype(), np.dtype([("a", "u1")]), np.dtype("f4")])
def test_an_hdf5_file_of_other_values(tmp_path, kind):
    path, *_ = write_mat(tmp_path)
    replace_array(path, lambda file: file.create_dataset("images", (5, 3, WIDTH, HEIGHT), kind))
    with pytest.raises(InputError, match="expected .* uint8 and float"):
        opened(path)


# Tables and other text


@pytest.mark.parametrize(
    "box", [[0, 0, -5, 5], [0, 0, float("nan"), 5], [0, 0, 1e30, 1], [-1e9, 0, 1, 1], [0, 0, 1]]
)
def test_boxes_that_are_none(tmp_path, box):
    annotations = coco_content()
    annotations["annotations"][0]["bbox"] = box
    write_coco(tmp_path, annotations)
    with pytest.raises(InputError, match="expected boxes inside the image|not in the form"):
        CocoDetection(str(tmp_path)).test_dataset()


@pytest.mark.parametrize("height", [10**5, 10**12, 10**40, -48, 0, "48", None, [48]])
def test_annotated_images_of_absurd_size(tmp_path, height):
    annotations = coco_content()
    annotations["images"][1]["height"] = height
    write_coco(tmp_path, annotations)
    with pytest.raises(InputError, match=r"instances_val2017\.json.*(pixels|not in the form)"):
        CocoDetection(str(tmp_path)).test_dataset()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("annotations", 0, "category_id"), 10**30),
        (("annotations", 0, "image_id"), []),
        (("annotations", 0, "bbox"), [10**400, 0, 1, 1]),
        (("images", 0, "file_name"), 7),
        (("images", 0, "id"), {}),
        (("categories",), 5),
        (("annotations",), "text"),
    ],
)
def test_annotations_of_another_form(tmp_path, place, value):
    write_coco(tmp_path)
    annotations = coco_content()
    inner = annotations
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    (tmp_path / "annotations" / "instances_val2017.json").write_text(json.dumps(annotations))
    with pytest.raises(InputError, match=r"instances_val2017\.json"):
        CocoDetection(str(tmp_path)).test_dataset()


def test_annotations_nested_without_end(tmp_path):
    write_coco(tmp_path)
    (tmp_path / "annotations" / "instances_val2017.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="not in the form"):
        CocoDetection(str(tmp_path)).test_dataset()


LAUGHS = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 20}">' for n in range(1, 12))


@pytest.mark.parametrize(
    "declared", [f'<!ENTITY e0 "ha">{LAUGHS}', f'<!ENTITY e11 SYSTEM "file://{os.devnull}">']
)
def test_xml_entities_are_neither_multiplied_nor_fetched(tmp_path, declared):
    root = Path(write_voc(tmp_path))
    annotation = root / "Annotations" / "2008_000001.xml"
    text = "<annotation><object><name>&e11;</name></object></annotation>"
    annotation.write_text(f"<!DOCTYPE annotation [{declared}]>{text}")
    with pytest.raises(InputError, match=r"2008_000001\.xml cannot be read as XML"):
        VocClassification(str(root)).test_dataset()


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\0", b"file,class,role\n" + b"x" * 200_000])
def test_tables_that_are_none(tmp_path, content):
    write_labels(tmp_path)
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"labels\.csv (cannot be read as a table|is no text)"):
        LabelledRetrieval(str(tmp_path)).test_dataset()


def test_a_list_that_is_no_text(tmp_path):
    (tmp_path / "val.txt").write_bytes(b"\x89PNG\r\n\x1a\n\0")
    with pytest.raises(InputError, match=r"val\.txt is no text in UTF-8"):
        read_lines(tmp_path / "val.txt")


def test_a_class_of_thousands_of_digits(tmp_path):
    write_listed(tmp_path, [("a.png", "1" * 5000)])
    with pytest.raises(InputError, match="of at most 9 digits"):
        ImageFolder(str(tmp_path)).test_dataset()


def test_a_pickle_that_fills_the_memory(tmp_path):
    (tmp_path / "gnd.pkl").write_bytes(b"c__builtin__\nbytes\n(I100000000000\ntR.")
    with pytest.raises(InputError, match=r"gnd\.pkl is not read"):
        read_plain_pickle(tmp_path / "gnd.pkl")


@pytest.mark.parametrize("edge", [float("nan"), float("inf"), 1e7, 10**400, "left", "5"])
def test_crops_that_are_none(tmp_path, edge):
    gnd = revisited_content()
    gnd["gnd"][0]["bbx"] = [0, 0, edge, edge]
    data = RevisitedRetrieval(write_revisited(tmp_path, gnd))
    with pytest.raises(InputError, match="bbx of four numbers|another form|the crop .* pixels"):
        data.test_dataset()[0]
