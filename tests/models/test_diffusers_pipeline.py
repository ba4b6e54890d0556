import json
import shutil

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    LDMPipeline,
    UNet2DModel,
    VQModel,
)
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from dds.errors import InputError
from dds.models.diffusion.diffusers_folder import DiffusersFolder
from dds.models.diffusion.diffusers_pipeline import is_pipeline, read_pipeline
from dds.models.zoo import resolve_diffusion


def tiny_unet():
    torch.manual_seed(0)
    return UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        layers_per_block=1,
    )


@pytest.fixture
def folder(tmp_path):
    DDPMPipeline(tiny_unet(), DDIMScheduler(beta_end=0.03)).save_pretrained(tmp_path / "pipeline")
    return tmp_path / "pipeline"


def assert_is_tiny_unet(network):
    for name, value in tiny_unet().state_dict().items():
        assert torch.equal(network.state_dict()[name], value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("google/ddpm-cifar10-32", True),
        ("someone/ddpm-v1.5", True),
        ("zoo:scenes-ddpm", False),
        ("weights/ddpm.pth", False),
        ("runs/train/denoiser/model.safetensors", False),
        ("./missing", False),
        ("/missing/folder", False),
    ],
)
def test_names_that_are_not_here(name, expected):
    assert is_pipeline(name) is expected


def test_a_folder_is_a_pipeline_and_a_file_is_not(folder):
    assert is_pipeline(str(folder))
    assert not is_pipeline(str(folder / "model_index.json"))


def test_pipeline_folder(folder):
    network, scheduler = read_pipeline(str(folder))
    assert_is_tiny_unet(network)
    assert (scheduler["_class_name"], scheduler["beta_end"]) == ("DDIMScheduler", 0.03)


def test_network_alone_has_no_scheduler(folder):
    network, scheduler = read_pipeline(str(folder / "unet"))
    assert_is_tiny_unet(network)
    assert scheduler is None


def test_files_beside_each_other_and_names_of_2022(folder):
    """The layout of google/ddpm-*, whose attention layers have the names of the first diffusers."""
    for path in (*folder.glob("unet/*"), *folder.glob("scheduler/*")):
        path.rename(folder / path.name)
    (folder / "unet").rmdir()
    (folder / "scheduler").rmdir()
    weights = folder / "diffusion_pytorch_model.safetensors"
    state = load_file(weights)
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    for new, name in old.items():
        state = {key.replace(f".{new}.", f".{name}."): value for key, value in state.items()}
    assert any("proj_attn" in key for key in state)
    weights.unlink()
    torch.save(state, folder / "diffusion_pytorch_model.bin")
    network, scheduler = read_pipeline(str(folder))
    assert_is_tiny_unet(network)
    assert scheduler["beta_end"] == 0.03


def test_hub_name_is_found_in_the_hubs_cache(folder, tmp_path, monkeypatch):
    cached = tmp_path / "hub" / "models--someone--ddpm"
    shutil.copytree(folder, cached / "snapshots" / ("0" * 40))
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    network, schedule = resolve_diffusion("someone/ddpm")
    assert_is_tiny_unet(network)
    assert schedule.alphas_cumprod[-1] == pytest.approx(
        DDPMScheduler(beta_end=0.03).alphas_cumprod[-1].item()
    )


def test_unreachable_hub_says_what_to_download(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"hf download google/ddpm-cifar10-32 --local-dir.*folder"):
        resolve_diffusion("google/ddpm-cifar10-32")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("conv_out.bias"), "missing_keys conv_out.bias"),
        (lambda state: state.update(extra=torch.zeros(1)), "unexpected_keys extra"),
        (lambda state: state.update({"conv_out.bias": torch.zeros(5)}), "conv_out.bias"),
    ],
)
def test_weights_that_do_not_fit(folder, change, words):
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(path)
    change(state)
    save_file(state, path)
    with pytest.raises(InputError, match=words):
        read_pipeline(str(folder))


class Malicious:
    ran = False

    def __reduce__(self):
        return (setattr, (Malicious, "ran", True))


def test_weights_that_would_run_code(folder):
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    torch.save({"conv_in.weight": Malicious()}, folder / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(InputError, match="cannot be loaded"):
        read_pipeline(str(folder))
    assert not Malicious.ran


def test_damaged_files(folder):
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"half a file")
    with pytest.raises(InputError, match="cannot be loaded"):
        read_pipeline(str(folder))
    (folder / "model_index.json").write_text("{")
    with pytest.raises(InputError, match=r"model_index\.json cannot be read"):
        read_pipeline(str(folder))


def test_pipeline_that_lost_its_scheduler(folder):
    shutil.rmtree(folder / "scheduler")
    with pytest.raises(InputError, match="no scheduler_config"):
        read_pipeline(str(folder))


def test_folders_of_other_kinds(tmp_path):
    with pytest.raises(InputError, match=r"no config\.json"):
        read_pipeline(str(tmp_path))
    VQModel(norm_num_groups=32).save_pretrained(tmp_path / "vq")
    with pytest.raises(InputError, match="VQModel; expected a UNet2DModel"):
        read_pipeline(str(tmp_path / "vq"))


def test_latent_pipeline_is_not_taken_for_pixels(tmp_path):
    LDMPipeline(VQModel(), tiny_unet(), DDIMScheduler()).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="LDMPipeline with vqvae"):
        read_pipeline(str(tmp_path))


def test_scheduler_given_goes_before_the_folders(folder):
    assert resolve_diffusion(str(folder))[1].at(999).sigma > 20
    assert resolve_diffusion(str(folder), {"beta_end": 0.01})[1].at(999).sigma < 8


@pytest.mark.parametrize("class_name", ["EDMEulerScheduler", "FlowMatchEulerDiscreteScheduler"])
def test_schedulers_without_betas(folder, class_name):
    config = {"_class_name": class_name, "num_train_timesteps": 1000, "prediction_type": "epsilon"}
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=f"{class_name} knows no betas"):
        resolve_diffusion(str(folder))


@pytest.mark.parametrize("shard", ["10GB", "20KB"])
def test_folders_that_hold_only_half_weights_run_in_float32(tmp_path, shard):
    network = tiny_unet()
    half = DDPMPipeline(tiny_unet().half(), DDIMScheduler(beta_end=0.03))
    half.save_pretrained(tmp_path, variant="fp16", max_shard_size=shard)
    assert any("fp16" in path.name for path in (tmp_path / "unet").glob("*.safetensors"))
    for name in (tmp_path, tmp_path / "unet"):
        read, _ = read_pipeline(str(name))
        for key, value in network.state_dict().items():
            assert torch.equal(read.state_dict()[key], value.half().float())


def test_plain_weights_go_before_variants(folder):
    halved = tiny_unet().half()
    halved.save_pretrained(folder / "unet", variant="fp16")
    assert_is_tiny_unet(read_pipeline(str(folder))[0])


def test_variants_among_which_nothing_chooses(folder):
    plain = folder / "unet" / "diffusion_pytorch_model.safetensors"
    for variant in ("ema", "non_ema"):
        shutil.copy(plain, plain.with_name(f"diffusion_pytorch_model.{variant}.safetensors"))
    plain.unlink()
    with pytest.raises(InputError, match=r"only as ema, non_ema; expected plain ones, fp16, or one"):
        read_pipeline(str(folder))


@pytest.mark.parametrize("cached", [True, False])
def test_a_hub_models_variant_is_found(tmp_path, monkeypatch, cached):
    model = tmp_path / "models--someone--ddpm" / "snapshots" / ("0" * 40)
    DDPMPipeline(tiny_unet().half(), DDIMScheduler()).save_pretrained(model, variant="fp16")
    there = [str(path.relative_to(model)) for path in model.rglob("*.*")]
    if not cached:
        (model / "unet" / "diffusion_pytorch_model.fp16.safetensors").unlink()
    monkeypatch.setattr("huggingface_hub.list_repo_files", lambda name: there)
    assert DiffusersFolder("someone/ddpm", model).variant("unet") == "fp16"
