"""The converted networks against an independent transcription of the published architecture's maths."""

import math

import pytest
import torch
import torch.nn.functional as F
from jsonargparse import ArgumentParser
from safetensors.torch import save_file
from torch import nn

from dds.errors import InputError
from dds.models.diffusion.guided_diffusion import guided_diffusion
from dds.noise import Streams
from dds.purifiers import DiffusionDenoiser, Purifier


class Residual(nn.Module):
    def __init__(self, inputs, outputs, embedding, scale_shift, resample=None):
        super().__init__()
        self.scale_shift, self.resample = scale_shift, resample or (lambda x: x)
        none = nn.Identity()
        self.in_layers = nn.Sequential(
            nn.GroupNorm(32, inputs), none, nn.Conv2d(inputs, outputs, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(none, nn.Linear(embedding, outputs * (2 if scale_shift else 1)))
        last = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.out_layers = nn.Sequential(nn.GroupNorm(32, outputs), none, none, last)
        self.skip_connection = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else none

    def forward(self, x, emb):
        h = self.in_layers[2](self.resample(F.silu(self.in_layers[0](x))))
        told = self.emb_layers[1](F.silu(emb))[..., None, None]
        if self.scale_shift:
            scale, shift = told.chunk(2, dim=1)
            h = self.out_layers[0](h) * (1 + scale) + shift
        else:
            h = self.out_layers[0](h + told)
        return self.skip_connection(self.resample(x)) + self.out_layers[3](F.silu(h))


class SelfAttention(nn.Module):
    def __init__(self, channels, heads, head_channels, new_order):
        super().__init__()
        self.heads = heads if head_channels == -1 else channels // head_channels
        self.new_order = new_order
        self.norm = nn.GroupNorm(32, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, x, emb):
        rows = self.qkv(self.norm(x).flatten(2))
        size = x.shape[1] // self.heads
        answers = []
        for head in range(self.heads):
            first = [part * self.heads + head if self.new_order else 3 * head + part for part in range(3)]
            q, k, v = (rows[:, size * i : size * (i + 1)] for i in first)
            weight = (q.transpose(1, 2) @ k / math.sqrt(size)).softmax(-1)
            answers.append(v @ weight.transpose(1, 2))
        return x + self.proj_out(torch.cat(answers, 1)).reshape(x.shape)


class Resample(nn.Module):
    def __init__(self, channels, up):
        super().__init__()
        name, stride = ("conv", 1) if up else ("op", 2)
        self.add_module(name, nn.Conv2d(channels, channels, 3, stride, padding=1))
        self.up = up

    def forward(self, x, emb):
        return self.conv(F.interpolate(x, scale_factor=2.0)) if self.up else self.op(x)


class First(nn.Conv2d):
    def forward(self, x, emb):
        return super().forward(x)


class Original(nn.Module):
    """The network under the parameter names of the published checkpoints."""

    def __init__(
        self,
        image_size=64,
        num_channels=32,
        num_res_blocks=1,
        num_heads=4,
        num_heads_upsample=-1,
        num_head_channels=-1,
        attention_resolutions="16,8",
        channel_mult="1,2",
        dropout=0.0,
        learn_sigma=False,
        class_cond=False,
        use_scale_shift_norm=True,
        resblock_updown=False,
        use_new_attention_order=False,
    ):
        super().__init__()
        self.width, emb = num_channels, 4 * num_channels
        widths = [int(float(m) * num_channels) for m in channel_mult.split(",")]
        levels, sides = len(widths), [int(side) for side in attention_resolutions.split(",")]
        upward_heads = num_heads if num_heads_upsample == -1 else num_heads_upsample

        def residual(inputs, outputs, resample=None):
            return Residual(inputs, outputs, emb, use_scale_shift_norm, resample)

        def attention(channels, heads):
            return SelfAttention(channels, heads, num_head_channels, use_new_attention_order)

        def attends(level):
            return image_size // 2**level in sides

        self.time_embed = nn.Sequential(nn.Linear(num_channels, emb), nn.SiLU(), nn.Linear(emb, emb))
        self.label_emb = nn.Embedding(1000, emb) if class_cond else None
        skips, now = [widths[0]], widths[0]
        down = [[First(3, now, 3, padding=1)]]
        for level, width in enumerate(widths):
            for _ in range(num_res_blocks):
                down.append(
                    [residual(now, width), *([attention(width, num_heads)] if attends(level) else [])]
                )
                now = width
                skips.append(now)
            if level < levels - 1:
                halve = residual(now, now, lambda x: F.avg_pool2d(x, 2)) if resblock_updown else None
                down.append([halve or Resample(now, up=False)])
                skips.append(now)
        middle = [residual(now, now), attention(now, num_heads), residual(now, now)]
        up = []
        for level in reversed(range(levels)):
            for i in range(num_res_blocks + 1):
                row = [residual(now + skips.pop(), widths[level])]
                now = widths[level]
                row += [attention(now, upward_heads)] if attends(level) else []
                if level and i == num_res_blocks:
                    double = residual(now, now, lambda x: F.interpolate(x, scale_factor=2.0))
                    row.append(double if resblock_updown else Resample(now, up=True))
                up.append(row)
        self.input_blocks = nn.ModuleList(nn.ModuleList(row) for row in down)
        self.middle_block = nn.ModuleList(middle)
        self.output_blocks = nn.ModuleList(nn.ModuleList(row) for row in up)
        last = nn.Conv2d(now, 6 if learn_sigma else 3, 3, padding=1)
        self.out = nn.Sequential(nn.GroupNorm(32, now), nn.SiLU(), last)

    def forward(self, x, t, label=None):
        half = self.width // 2
        angle = t[:, None] * torch.exp(-math.log(10000) * torch.arange(half) / half)
        emb = self.time_embed(torch.cat([angle.cos(), angle.sin()], 1))
        if label is not None:
            emb = emb + self.label_emb(label)
        skips = []
        for row in self.input_blocks:
            for block in row:
                x = block(x, emb)
            skips.append(x)
        for block in self.middle_block:
            x = block(x, emb)
        for row in self.output_blocks:
            x = torch.cat([x, skips.pop()], 1)
            for block in row:
                x = block(x, emb)
        return self.out(x)


def original(**flags):
    torch.manual_seed(0)
    network = Original(**flags).eval()
    for parameter in network.parameters():  # far from zero everywhere, so that no mistake hides
        nn.init.normal_(parameter, std=0.5 / math.sqrt(parameter[0].numel()) if parameter.ndim > 1 else 0.3)
    return network


SMALL = {"num_channels": 32, "num_res_blocks": 1, "channel_mult": "1,2", "attention_resolutions": "32"}


def pair(tmp_path, **flags):
    flags = SMALL | flags
    reference = original(**flags)
    torch.save(reference.state_dict(), tmp_path / "net.pt")
    return reference, guided_diffusion(str(tmp_path / "net.pt"), **flags).eval().requires_grad_(False)


def assert_same_function(reference, network, *labels, size=16, t=(3, 777), told=None):
    x = torch.randn(2, 3, size, size)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    got = network(ours, torch.tensor(t), *labels).sample
    expected = reference(theirs, torch.tensor(told or t), *labels)
    assert expected.std() > 0.1
    assert torch.allclose(got, expected, atol=1e-5, rtol=1e-5)
    weight = torch.randn(expected.shape)
    (got * weight).sum().backward()
    (expected * weight).sum().backward()
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"learn_sigma": True, "resblock_updown": True},
        {"use_scale_shift_norm": False},
        {"use_scale_shift_norm": False, "resblock_updown": True, "use_new_attention_order": True},
        {"use_new_attention_order": True},
        {"attention_resolutions": "64,32", "num_heads": 8, "num_heads_upsample": 2},
        {"attention_resolutions": "64,32", "num_head_channels": 16, "resblock_updown": True},
        {"attention_resolutions": "8"},  # none but in the middle
        {"num_res_blocks": 3, "channel_mult": "1,2,2", "image_size": 32, "attention_resolutions": "16,8"},
        {"num_channels": 64, "channel_mult": "0.5,1,1", "num_heads": 2},
        {"num_channels": 64, "channel_mult": "0.5,1", "num_head_channels": 32, "resblock_updown": True},
        {"channel_mult": "2"},
    ],
    ids=str,
)
def test_equals_the_original(tmp_path, flags):
    assert_same_function(*pair(tmp_path, **flags))


def test_class_conditional_network_equals_the_original(tmp_path):
    assert_same_function(*pair(tmp_path, class_cond=True), torch.tensor([0, 999]))


def test_rescaled_time_steps(tmp_path):
    reference, _ = pair(tmp_path)
    steps = {"diffusion_steps": 4000, "rescale_timesteps": True}
    network = guided_diffusion(str(tmp_path / "net.pt"), **SMALL, **steps)
    assert_same_function(reference, network, t=(10, 3998), told=(2.5, 999.5))


@pytest.mark.parametrize("flag", [{"use_new_attention_order": True}, {"num_heads": 2}])
def test_what_no_check_of_the_weights_can_find_matters(tmp_path, flag):
    reference, _ = pair(tmp_path)
    network = guided_diffusion(str(tmp_path / "net.pt"), **SMALL | flag)
    x, t = torch.randn(1, 3, 16, 16), torch.tensor([5])
    assert (network(x, t).sample - reference(x, t)).abs().max() > 1e-2


UNCONDITIONAL = {"attention_resolutions": "32,16,8", "learn_sigma": True, "resblock_updown": True}
PUBLISHED = {  # the flags of the repository's README, and the channel multipliers that follow from the size
    "256x256_diffusion_uncond": UNCONDITIONAL
    | {"image_size": 256, "num_channels": 256, "num_head_channels": 64, "num_res_blocks": 2},
    "64x64_diffusion": UNCONDITIONAL
    | {"image_size": 64, "num_channels": 192, "num_head_channels": 64, "num_res_blocks": 3}
    | {"class_cond": True, "use_new_attention_order": True, "dropout": 0.1},
    "128x128_diffusion": UNCONDITIONAL
    | {"image_size": 128, "num_channels": 256, "num_heads": 4, "num_res_blocks": 2, "class_cond": True},
    "512x512_diffusion": UNCONDITIONAL
    | {
        "image_size": 512,
        "num_channels": 256,
        "num_head_channels": 64,
        "num_res_blocks": 2,
        "class_cond": True,
    },
}
MULTIPLIERS = {64: "1,2,3,4", 128: "1,1,2,3,4", 256: "1,1,2,2,4,4", 512: "0.5,1,1,2,2,4,4"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_flags_of_the_published_checkpoints(name):
    flags = PUBLISHED[name]
    with torch.device("meta"):
        network = guided_diffusion(**flags)
        reference = Original(**flags, channel_mult=MULTIPLIERS[flags["image_size"]])
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == sum(parameter.numel() for parameter in reference.parameters())
    if name == "256x256_diffusion_uncond":
        assert count == 552_814_086


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_half_precision_checkpoints_become_single(tmp_path, suffix):
    reference = original(**SMALL)
    state = {
        name: value.half() if name.split("_")[0] in ("input", "middle", "output") else value
        for name, value in reference.state_dict().items()
    }
    path = tmp_path / f"net{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(state, path)
    network = guided_diffusion(str(path), **SMALL)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    reference.load_state_dict(state)
    assert_same_function(reference, network)


@pytest.mark.parametrize(
    ("truth", "words"),
    [
        ({"num_channels": 64}, r"Check num_channels first"),
        ({"channel_mult": "1,3"}, r"Check channel_mult"),
        ({"channel_mult": "1,2,2"}, r"Check num_res_blocks and channel_mult"),
        ({"num_res_blocks": 2}, r"Check num_res_blocks"),
        (
            {"attention_resolutions": "64,32"},
            r"input_blocks\.1\.1\.norm\.weight is unknown.*attention_resolut",
        ),
        ({"attention_resolutions": "8"}, r"qkv\.weight is missing.*Check attention_resolutions"),
        ({"resblock_updown": True}, r"input_blocks\.2\.0\.op\.weight is missing.*Check resblock_updown"),
        (
            {"use_scale_shift_norm": False},
            r"is \[32, 128\], expected \[64, 128\].*Check use_scale_shift_norm",
        ),
        ({"learn_sigma": True}, r"out\.2\.bias is \[6\], expected \[3\]\. Check learn_sigma"),
        ({"class_cond": True}, r"label_emb\.weight is unknown\. Check class_cond"),
    ],
)
def test_weights_of_other_flags_name_the_flag(tmp_path, truth, words):
    torch.save(Original(**SMALL | truth).state_dict(), tmp_path / "net.pt")
    with pytest.raises(InputError, match=words):
        guided_diffusion(str(tmp_path / "net.pt"), **SMALL)


def test_weights_of_another_family(tmp_path):
    torch.save({"state_dict": original(**SMALL).state_dict()}, tmp_path / "net.pt")
    with pytest.raises(InputError, match="whether this is a checkpoint of guided-diffusion"):
        guided_diffusion(str(tmp_path / "net.pt"), **SMALL)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"image_size": 96, "channel_mult": ""}, "channel_mult=''.*32"),
        ({"channel_mult": "1;2"}, "channel_mult='1;2'"),
        ({"attention_resolutions": "16,0"}, "attention_resolutions='16,0'"),
        ({"num_channels": 48}, "multiples of 32"),
        ({"num_heads": 5}, "num_heads=5 does not divide the 64"),
        ({"num_head_channels": 48}, "num_head_channels=48"),
    ],
)
def test_flags_that_make_no_network(flags, words):
    with pytest.raises(InputError, match=words):
        guided_diffusion(**SMALL | flags)


def test_purifies_with_the_noise_half_of_the_channels(tmp_path):
    reference, network = pair(tmp_path, channel_mult="1,2,2", learn_sigma=True)
    purifier = DiffusionDenoiser(network, clamp=False)
    assert purifier.size_multiple == 4
    image, level = torch.rand(2, 3, 16, 16), purifier.level(145)
    noise = torch.randn(image.shape)
    abar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0)[145]
    noisy = abar.sqrt() * (2 * image - 1) + (1 - abar).sqrt() * noise
    eps = reference(noisy, torch.tensor([145, 145]))[:, :3]
    expected = ((noisy - (1 - abar).sqrt() * eps) / abar.sqrt() + 1) / 2
    assert torch.allclose(purifier.denoise(image, level, noise), expected, atol=1e-4)
    assert purifier(torch.rand(1, 3, 13, 18), level, Streams(0, (0,))).shape == (1, 3, 13, 18)


def test_purifier_refuses_a_network_that_wants_labels():
    with pytest.raises(InputError, match="class-conditional"):
        DiffusionDenoiser(guided_diffusion(**SMALL, class_cond=True))


def test_from_yaml(tmp_path):
    reference, _ = pair(tmp_path)
    (tmp_path / "purifier.yaml").write_text(f"""
purifier:
  class_path: DiffusionDenoiser
  init_args:
    model:
      class_path: dds.models.diffusion.guided_diffusion.guided_diffusion
      init_args:
        weights: {tmp_path / "net.pt"}
        num_channels: 32
        num_res_blocks: 1
        channel_mult: 1,2
        attention_resolutions: "32"
""")
    parser = ArgumentParser()
    parser.add_argument("--config", action="config")
    parser.add_subclass_arguments(Purifier, "purifier")
    config = parser.parse_args(["--config", str(tmp_path / "purifier.yaml")])
    assert_same_function(reference, parser.instantiate(config).purifier.model)
