import json
import sys

import pytest
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, DDPMScheduler, UNet2DConditionModel, UNet2DModel
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from dds.errors import InputError
from dds.noise import Streams
from dds.purifiers.latent import LatentDenoiser

STREAMS = Streams(0, (0, 1))
SCALE = 0.7


def autoencoder(channels=4):
    torch.manual_seed(0)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(4, 8),
        latent_channels=channels,
        norm_num_groups=2,
        scaling_factor=SCALE,
    ).eval()


def unconditional(channels=4, **settings):
    torch.manual_seed(1)
    return UNet2DModel(
        in_channels=channels,
        out_channels=channels,
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        layers_per_block=1,
        **settings,
    ).eval()


def conditional(**settings):
    torch.manual_seed(1)
    return UNet2DConditionModel(
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(8, 16),
        norm_num_groups=4,
        layers_per_block=1,
        attention_head_dim=2,
        cross_attention_dim=6,
        **settings,
    ).eval()


def save(folder, network=None, scheduler=None, vae=None):
    """Write a model part by part, each where its pipeline's `save_pretrained` puts it."""
    (vae or autoencoder()).save_pretrained(folder / "vae")
    (network or unconditional()).save_pretrained(folder / "unet")
    (scheduler or DDIMScheduler(beta_schedule="scaled_linear", beta_end=0.012)).save_pretrained(
        folder / "scheduler"
    )
    return str(folder)


@pytest.fixture
def photographs():
    return torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(3))


def by_hand(vae, predict_x0, scheduler, image, t):
    """The method with diffusers' objects: posterior mean, scheduler's noise and prediction, decoder."""
    latent = DiagonalGaussianDistribution(vae.quant_conv(vae.encoder(image * 2 - 1))).mode() * SCALE
    noise = STREAMS.normal(latent)
    noisy = scheduler.add_noise(latent, noise, torch.tensor([t]))
    decoded = vae.decoder(vae.post_quant_conv(predict_x0(noisy) / SCALE))
    return (decoded / 2 + 0.5).clamp(0, 1)


@pytest.mark.parametrize("t", [0, 145, 600])
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("text", [False, True])
def test_equals_the_formulas_with_diffusers_objects(tmp_path, photographs, t, prediction_type, text):
    network = conditional() if text else unconditional()
    scheduler = DDIMScheduler(
        beta_schedule="scaled_linear", clip_sample=False, prediction_type=prediction_type
    )
    purifier = LatentDenoiser(save(tmp_path, network, scheduler))
    scheduler.set_timesteps(1000)
    told = (torch.zeros(2, 77, 6),) if text else ()

    def predict_x0(noisy):
        return scheduler.step(network(noisy, t, *told).sample, t, noisy).pred_original_sample

    with torch.no_grad():
        expected = by_hand(autoencoder(), predict_x0, scheduler, photographs, t)
        purified = purifier(photographs, purifier.level(t), STREAMS)
    assert torch.allclose(purified, expected, atol=1e-5)


def test_levels_are_those_of_its_own_schedule(tmp_path):
    purifier = LatentDenoiser(save(tmp_path, scheduler=DDPMScheduler(beta_end=0.01)))
    abar = DDPMScheduler(beta_end=0.01).alphas_cumprod[300].item()
    assert purifier.level(300).sigma == pytest.approx(((1 - abar) / abar) ** 0.5 / 2, rel=1e-4)
    with pytest.raises(InputError, match="0 <= t <= 999"):
        purifier.level(1000)


@pytest.mark.parametrize("network", [unconditional, conditional])
def test_gradients_equal_finite_differences(tmp_path, photographs, network):
    purifier = LatentDenoiser(save(tmp_path, network()), clamp=False).double()
    image = photographs[:1].double().requires_grad_()
    level, streams = purifier.level(145), Streams(0, (0,))
    assert torch.autograd.gradcheck(lambda x: purifier(x, level, streams), image, fast_mode=True)
    assert not any(parameter.requires_grad for parameter in purifier.parameters())


def test_pads_to_what_both_networks_halve_and_crops(tmp_path):
    """Autoencoder and network halve once each, so sides of 4 pass; mirrored by hand gives the same."""
    purifier = LatentDenoiser(save(tmp_path))
    image = torch.rand(2, 3, 9, 14)
    level = purifier.level(145)
    purified = purifier(image, level, STREAMS)
    assert purified.shape == image.shape
    padded = F.pad(image, (0, 2, 0, 3), mode="reflect")
    assert torch.equal(purified, purifier(padded, level, STREAMS)[..., :9, :14])


def test_an_image_does_not_depend_on_its_batch(tmp_path, photographs):
    purifier = LatentDenoiser(save(tmp_path, conditional()))
    level = purifier.level(145)
    both = purifier(photographs, level, STREAMS)
    assert torch.allclose(both[1:], purifier(photographs[1:], level, Streams(0, (1,))), atol=1e-5)
    assert torch.equal(both, purifier(photographs, level, STREAMS))
    assert not torch.equal(both, purifier(photographs, level, STREAMS.child(1)))


def test_the_model_is_called_as_often_as_said(tmp_path, photographs):
    purifier = LatentDenoiser(save(tmp_path, conditional()))
    seen = []
    purifier.model.register_forward_hook(lambda network, inputs, output: seen.append(len(inputs[0])))
    purifier(photographs, purifier.level(10), STREAMS)
    assert seen == [len(photographs)] * purifier.calls(purifier.level(10))


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        ("vae/config.json", r"no config\.json in vae/; expected AutoencoderKL"),
        ("unet/config.json", r"no config\.json in unet/; expected UNet2DModel or UNet2DConditionModel"),
        ("scheduler/scheduler_config.json", "no scheduler/scheduler_config.json"),
        ("vae/diffusion_pytorch_model.safetensors", "network vae .* cannot be loaded"),
        ("unet/diffusion_pytorch_model.safetensors", "network unet .* cannot be loaded"),
    ],
)
def test_missing_parts(tmp_path, lost, words):
    folder = save(tmp_path)
    (tmp_path / lost).unlink()
    with pytest.raises(InputError, match=words):
        LatentDenoiser(folder)


def test_weights_that_are_pickles_are_left_alone(tmp_path):
    folder = save(tmp_path)
    weights = tmp_path / "vae" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(InputError, match="network vae .* cannot be loaded"):
        LatentDenoiser(folder)


def test_weights_that_do_not_fit(tmp_path):
    folder = save(tmp_path)
    weights = tmp_path / "vae" / "diffusion_pytorch_model.safetensors"
    state = load_file(weights)
    del state["decoder.conv_out.bias"]
    save_file(state, weights)
    with pytest.raises(InputError, match="missing_keys decoder.conv_out.bias"):
        LatentDenoiser(folder)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (lambda: unconditional(num_class_embeds=10), "more than a latent and a prompt .num_class_embeds"),
        (
            lambda: conditional(
                addition_embed_type="text_time",
                addition_time_embed_dim=8,
                projection_class_embeddings_input_dim=56,
            ),
            "addition_embed_type",
        ),
        (lambda: conditional(in_channels=9), "takes 9 channels"),
    ],
)
def test_networks_that_want_more(tmp_path, network, words):
    with pytest.raises(InputError, match=words):
        LatentDenoiser(save(tmp_path, network()))


def test_hub_name_is_found_in_the_hubs_cache(tmp_path, monkeypatch):
    cached = tmp_path / "models--someone--latent"
    save(cached / "snapshots" / ("0" * 40))
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    purifier = LatentDenoiser("someone/latent")
    assert torch.equal(purifier.model.conv_in.weight, unconditional().conv_in.weight)


def test_unreachable_hub_says_what_to_download(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"hf download someone/latent --local-dir.*folder"):
        LatentDenoiser("someone/latent")


def save_text_encoder(folder, transformers):
    """Write a tiny CLIP text model and its tokenizer, whose words are the letters a and b."""
    words = ["a", "b", "a</w>", "b</w>", "<|startoftext|>", "<|endoftext|>"]
    config = transformers.CLIPTextConfig(
        vocab_size=6,
        hidden_size=6,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        bos_token_id=4,
        eos_token_id=5,
    )
    torch.manual_seed(2)
    encoder = transformers.CLIPTextModel(config).eval()
    encoder.save_pretrained(folder / "text_encoder")
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77
    )
    tokenizer.save_pretrained(folder / "tokenizer")
    return encoder


def test_text_encoder_embeds_the_empty_prompt(tmp_path):
    encoder = save_text_encoder(tmp_path, pytest.importorskip("transformers"))
    purifier = LatentDenoiser(save(tmp_path, conditional()))
    empty = torch.tensor([[4, *[5] * 76]])  # start, then end up to the encoder's length
    assert torch.allclose(purifier.model.text, encoder(empty).last_hidden_state, atol=1e-6)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"architectures": ["CLIPTextModel"]}, "pip install transformers"),
        ({"architectures": ["T5EncoderModel"]}, "T5EncoderModel.*expected a CLIPTextModel"),
    ],
)
def test_text_encoders_that_cannot_be_read(tmp_path, monkeypatch, config, words):
    monkeypatch.setitem(sys.modules, "transformers", None)
    folder = save(tmp_path, conditional())
    (tmp_path / "text_encoder").mkdir()
    (tmp_path / "text_encoder" / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=words):
        LatentDenoiser(folder)
