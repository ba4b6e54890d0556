"""The networks against the published formulas, computed here from files in Meta's layouts."""

from functools import partial

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from timm.layers import SwiGLUPacked
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from dds.errors import InputError
from dds.models.dinov2.dinov2 import DinoClassifier, DinoDepth, DinoSegmenter
from dds.models.dinov2.heads import WIDTHS
from dds.models.dinov2.network import NAMES, load_backbone
from dds.models.features import find_pooled_layer, outputs_of, pool

WIDTH, DEPTH, HEADS, SIDE = 16, 12, 2, 56
PADDING = {(56, 56): (0, 0, 0, 0), (50, 45): (5, 6, 3, 3), (28, 69): (0, 1, 0, 0)}
"""What is added left, right, above and below to images of some sizes; positions are those of the first."""

PADDING |= {(480, 640): (2, 2, 5, 5), (375, 500): (2, 2, 1, 2), (513, 513): (2, 3, 2, 3)}
SMALL, LARGE = list(PADDING)[:3], list(PADDING)[3:]


def any_of(sizes):
    return pytest.mark.parametrize("size", sizes, ids=lambda size: "x".join(map(str, size)))


def tiny_vit(name, pretrained=False, depth=DEPTH, **options):
    vit = VisionTransformer(
        SIDE, 14, embed_dim=WIDTH, depth=depth, num_heads=HEADS, num_classes=0, init_values=1, **options
    )
    vit.pretrained_cfg = {"mean": (0.5, 0.4, 0.3), "name": name, "pretrained": pretrained}
    return vit


def meta_state(seed=0, swiglu=False, depth=DEPTH):
    """A backbone as in dinov2_vits14_pretrain.pth, or with the giant's gated layers."""
    shapes = {"cls_token": (1, 1, WIDTH), "pos_embed": (1, 17, WIDTH), "mask_token": (1, WIDTH)}
    shapes |= {"patch_embed.proj.weight": (WIDTH, 3, 14, 14), "patch_embed.proj.bias": (WIDTH,)}
    layers = {"attn.qkv": (48, WIDTH), "attn.proj": (WIDTH, WIDTH)}
    layers |= (
        {"mlp.w12": (64, WIDTH), "mlp.w3": (WIDTH, 32)}
        if swiglu
        else {"mlp.fc1": (64, WIDTH), "mlp.fc2": (WIDTH, 64)}
    )
    norms = ["norm"]
    for block in (f"blocks.{i}" for i in range(depth)):
        norms += [f"{block}.norm1", f"{block}.norm2"]
        shapes |= {f"{block}.ls1.gamma": (WIDTH,), f"{block}.ls2.gamma": (WIDTH,)}
        for name, shape in layers.items():
            shapes |= {f"{block}.{name}.weight": shape, f"{block}.{name}.bias": shape[:1]}
    for norm in norms:
        shapes |= {f"{norm}.weight": (WIDTH,), f"{norm}.bias": (WIDTH,)}
    generator = torch.Generator().manual_seed(seed)
    return {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def meta_layers(state, image):
    """The tokens after each block, `[B, 1 + h w, D]`, before the final norm."""

    def linear(x, name):
        return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    def mlp(x, name):
        if f"{name}.fc1.weight" in state:
            return linear(F.gelu(linear(x, f"{name}.fc1")), f"{name}.fc2")
        gate, value = linear(x, f"{name}.w12").chunk(2, dim=-1)
        return linear(F.silu(gate) * value, f"{name}.w3")

    def attention(x, name):
        q, k, v = (
            linear(x, f"{name}.qkv").reshape(*x.shape[:2], 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        )
        weights = (q @ k.mT * (WIDTH // HEADS) ** -0.5).softmax(-1)
        return linear((weights @ v).transpose(1, 2).reshape(x.shape), f"{name}.proj")

    patches = F.conv2d(image, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=14)
    x = torch.cat([state["cls_token"].expand(len(image), -1, -1), patches.flatten(2).mT], 1)
    x = x + positions(state["pos_embed"], *patches.shape[2:])
    layers = []
    for block in (f"blocks.{i}" for i in range(sum(name.endswith("norm1.bias") for name in state))):
        x = x + state[f"{block}.ls1.gamma"] * attention(norm(state, x, f"{block}.norm1"), f"{block}.attn")
        x = x + state[f"{block}.ls2.gamma"] * mlp(norm(state, x, f"{block}.norm2"), f"{block}.mlp")
        layers.append(x)
    return layers


def positions(stored, height, width):
    """Bicubic interpolation (a = -0.75) of a 4x4 grid at a scale of (height + 0.1) / 4."""
    if (height, width) == (4, 4):
        return stored

    def kernel(d):
        d, a = abs(d), -0.75
        return (a + 2) * d**3 - (a + 3) * d**2 + 1 if d <= 1 else a * (d**3 - 5 * d**2 + 8 * d - 4)

    def weights(length):
        matrix = torch.zeros(length, 4, dtype=stored.dtype)
        for i in range(length):
            place = (i + 0.5) * 4 / (length + 0.1) - 0.5
            for j in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
                matrix[i, min(max(j, 0), 3)] += kernel(place - j)
        return matrix

    grid = torch.einsum("ya,xb,abd->yxd", weights(height), weights(width), stored[0, 1:].reshape(4, 4, WIDTH))
    return torch.cat([stored[:, :1], grid.reshape(1, -1, WIDTH)], 1)


def norm(state, x, name="norm"):
    return F.layer_norm(x, (WIDTH,), state[f"{name}.weight"], state[f"{name}.bias"], 1e-6)


def grid(tokens, image):
    height, width = (side // 14 for side in image.shape[-2:])
    return tokens[:, 1:].mT.reshape(len(tokens), WIDTH, height, width)


def pad(image):
    return F.pad(image, PADDING[tuple(image.shape[-2:])])


def enlarge(dense, size, aligned=False):
    """Enlarge what was predicted for the padded image: to the image's size, or to its own and cut."""
    if not aligned:
        return F.interpolate(dense, size, mode="bilinear", align_corners=False)
    left, right, above, below = PADDING[size]
    padded = (size[0] + above + below, size[1] + left + right)
    dense = F.interpolate(dense, padded, mode="bilinear", align_corners=False)
    return dense[..., above : above + size[0], left : left + size[1]]


def meta_logits(state, head, picture):
    """What Meta's segmenters predict for the padded picture, a value for each patch."""
    image = pad(picture)
    x = grid(norm(state, meta_layers(state, image)[-1]), image)
    head = {name.removeprefix("decode_head."): value for name, value in head.items()}
    bn = {name.removeprefix("bn."): value[:, None, None] for name, value in head.items() if value.ndim == 1}
    x = (x - bn["running_mean"]) / (bn["running_var"] + 1e-5).sqrt() * bn["weight"] + bn["bias"]
    return F.conv2d(x, head["conv_seg.weight"], head["conv_seg.bias"])


def meta_depth(state, head, picture, read):
    """What Meta's depthers predict for the padded picture from the layers `read`, at 4 times its grid."""
    image = pad(picture)
    tokens = meta_layers(state, image)
    maps = [grid(tokens[i], image) for i in read]
    spread = [tokens[i][:, 0, :, None, None].expand_as(maps[0]) for i in read]
    x = torch.cat([part for pair in zip(maps, spread, strict=True) for part in pair], 1)
    x = F.interpolate(x, scale_factor=4, mode="bilinear", align_corners=False)
    x = F.conv2d(x, head["decode_head.conv_depth.weight"], head["decode_head.conv_depth.bias"])
    x = x.double().relu() + 0.1
    metres = torch.from_numpy(np.linspace(0.001, 10, 256))
    return ((x / x.sum(1, keepdim=True)) * metres[:, None, None]).sum(1, keepdim=True)


def head_state(task, layers=1, outputs=5, width=WIDTH):
    """The entries of an official head's file."""
    torch.manual_seed(layers)
    if task == "linear":
        return {"weight": torch.randn(outputs, (layers + 1) * width), "bias": torch.randn(outputs)}
    if task == "depth":
        state = {
            "conv_depth.weight": torch.randn(256, 2 * layers * width, 1, 1),
            "conv_depth.bias": torch.randn(256),
        }
    else:
        bn = {name: torch.rand(width) + 0.5 for name in ("weight", "bias", "running_mean", "running_var")}
        state = {f"bn.{name}": value for name, value in bn.items()}
        state |= {"bn.num_batches_tracked": torch.tensor(40000)}
        state |= {"conv_seg.weight": torch.randn(outputs, width, 1, 1), "conv_seg.bias": torch.randn(outputs)}
    return {f"decode_head.{name}": value for name, value in state.items()}


def write_head(path, state):
    torch.save(state if "weight" in state else {"meta": {"iter": 40000}, "state_dict": state}, path)
    return str(path)


@pytest.fixture
def meta(tmp_path, monkeypatch):
    """A tiny backbone in Meta's layout; returns its state dict and its file."""
    monkeypatch.setattr(timm, "create_model", tiny_vit)
    torch.save(meta_state(), tmp_path / "meta.pth")
    return meta_state(), str(tmp_path / "meta.pth")


def picture(size=(SIDE, SIDE)):
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))


def build(network, tmp_path, meta, state, **options):
    head = write_head(tmp_path / "head.pth", state)
    return network("s", head, backbone_weights=meta[1], **options).eval()


@pytest.mark.parametrize("layers", [1, 4])
def test_classifier(tmp_path, meta, layers):
    state = head_state("linear", layers)
    logits = build(DinoClassifier, tmp_path, meta, state)(picture())
    tokens = [norm(meta[0], x) for x in meta_layers(meta[0], picture())[-layers:]]
    inputs = torch.cat([x[:, 0] for x in tokens] + [tokens[-1][:, 1:].mean(1)], 1)
    torch.testing.assert_close(logits, inputs @ state["weight"].T + state["bias"], rtol=1e-4, atol=1e-4)


aligned_or_not = pytest.mark.parametrize("options", [{}, {"aligned": True}], ids=["meta", "aligned"])


@any_of(SMALL)
@aligned_or_not
def test_segmenter(tmp_path, meta, size, options):
    state = head_state("seg")
    logits = build(DinoSegmenter, tmp_path, meta, state, **options)(picture(size))
    expected = enlarge(meta_logits(meta[0], state, picture(size)), size, **options)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


@any_of(SMALL)
@aligned_or_not
@pytest.mark.parametrize(("layers", "read"), [(1, [11]), (4, [2, 5, 8, 11])])
def test_depth(tmp_path, meta, size, layers, read, options):
    state = head_state("depth", layers)
    depth = build(DinoDepth, tmp_path, meta, state, **options)(picture(size))
    expected = enlarge(meta_depth(meta[0], state, picture(size), read), size, **options)
    torch.testing.assert_close(depth.double(), expected, rtol=1e-4, atol=1e-4)


@any_of(LARGE)
@aligned_or_not
@pytest.mark.parametrize("task", ["seg", "depth"])
def test_answers_and_gradients_at_sizes_of_published_figures(tmp_path, monkeypatch, size, task, options):
    """NYU's, VOC's and a square side that 14 does not divide; two layers keep it quick."""
    monkeypatch.setattr(timm, "create_model", lambda *args, **kwargs: tiny_vit(*args, **kwargs, depth=2))
    monkeypatch.setitem(DinoDepth.four_layers, 2, [0, 1])
    state, head = meta_state(depth=2), head_state(task)
    torch.save(state, tmp_path / "meta.pth")
    network = build(NETWORKS_OF[task], tmp_path, (state, str(tmp_path / "meta.pth")), head, **options)
    ours, theirs = (picture(size)[:1].double().requires_grad_() for _ in range(2))
    state, head = ({name: value.double() for name, value in part.items()} for part in (state, head))
    predict = meta_logits if task == "seg" else partial(meta_depth, read=[1])
    answer, expected = network.double()(ours), enlarge(predict(state, head, theirs), size, **options)
    torch.testing.assert_close(answer, expected, rtol=1e-6, atol=1e-6)
    slope = torch.randn(answer.shape, generator=torch.Generator().manual_seed(2), dtype=torch.double)
    for output in (answer, expected):
        (output * slope).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("options", "largest"), [({}, 10), ({"max_depth": 80.0}, 80)])
def test_depths_end_at_ten_metres_unless_said(tmp_path, meta, options, largest):
    state = {name: torch.zeros_like(value) for name, value in head_state("depth").items()}
    depth = build(DinoDepth, tmp_path, meta, state, **options)(picture())
    torch.testing.assert_close(depth, torch.full((2, 1, SIDE, SIDE), (0.001 + largest) / 2))
    state["decode_head.conv_depth.bias"][-1] = 1e6
    depth = build(DinoDepth, tmp_path, meta, state, **options)(picture())
    torch.testing.assert_close(depth, torch.full((2, 1, SIDE, SIDE), float(largest)), rtol=1e-4, atol=0)


NETWORKS = {DinoClassifier: "linear", DinoSegmenter: "seg", DinoDepth: "depth"}
NETWORKS_OF = {task: network for network, task in NETWORKS.items()}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("size", [(50, 45), (60, 33), (5, 29)])
def test_every_pixel_of_any_size_has_a_gradient(tmp_path, meta, network, size):
    image = picture(size).requires_grad_()
    output = build(network, tmp_path, meta, head_state(NETWORKS[network]))(image)
    assert output.ndim == 2 or output.shape[-2:] == size
    output.square().sum().backward()
    assert torch.isfinite(image.grad).all()
    assert (image.grad != 0).all()


@pytest.mark.parametrize("network", NETWORKS)
def test_tasks_find_the_class_token_behind_the_final_norm(tmp_path, meta, network):
    model = build(network, tmp_path, meta, head_state(NETWORKS[network]))
    with outputs_of(find_pooled_layer(model)) as caught:
        model(picture())
    expected = norm(meta[0], meta_layers(meta[0], picture())[-1])[:, 0]
    torch.testing.assert_close(pool(caught[-1]), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("network", "options"),
    [(DinoClassifier, {"classes": 7}), (DinoSegmenter, {"classes": 7}), (DinoDepth, {})],
)
def test_a_head_to_be_trained(meta, network, options):
    model = network("s", None, backbone_weights=meta[1], **options)
    model.requires_grad_(False).head.requires_grad_(True)
    output = model(picture())
    assert output.shape[1] == options.get("classes", 1)
    output.sum().backward()
    assert all(parameter.grad is not None for parameter in model.head.parameters())
    assert model.pretrained_cfg["mean"] == (0.5, 0.4, 0.3)


def test_a_head_to_be_trained_needs_classes(meta):
    with pytest.raises(InputError, match="Set classes"):
        DinoSegmenter("s", head=None, pretrained=False)


@pytest.mark.parametrize(
    ("network", "state", "options", "words"),
    [
        (DinoClassifier, head_state("linear", width=768), {}, "1536 channels.*expected 32 or 80.*size b"),
        (DinoClassifier, head_state("linear", 4, width=1024), {}, "size l"),
        (DinoSegmenter, head_state("seg", width=384), {}, "size s"),
        (DinoDepth, head_state("depth", 4, width=384), {}, "3072 channels.*size s or g"),
        (DinoDepth, head_state("depth", width=17), {}, "Check that the file is whole"),
        (DinoClassifier, head_state("linear"), {"classes": 6}, "size mismatch"),
        (DinoClassifier, head_state("linear") | {"extra": torch.zeros(1)}, {}, "Unexpected key"),
        (DinoDepth, head_state("seg"), {}, "another task.*nyu_linear"),
        (DinoSegmenter, head_state("linear"), {}, "another task.*ade20k_linear"),
    ],
)
def test_heads_that_do_not_fit(tmp_path, meta, network, state, options, words):
    with pytest.raises(InputError, match=words):
        build(network, tmp_path, meta, state, **options)


@pytest.mark.parametrize("missing", ["bn.running_var", "conv_seg.bias"])
def test_half_a_head_is_refused(tmp_path, meta, missing):
    state = head_state("seg")
    del state[f"decode_head.{missing}"]
    with pytest.raises(InputError, match=f"Missing key.*{missing}"):
        build(DinoSegmenter, tmp_path, meta, state)


def test_unknown_names_list_the_known(meta):
    with pytest.raises(InputError, match="voc2012_linear, ade20k_linear"):
        DinoSegmenter("s", "voc_linear", backbone_weights=meta[1])
    with pytest.raises(InputError, match="'vits'; expected one of s, b, l, g"):
        DinoSegmenter("vits")


@pytest.mark.parametrize(
    ("network", "file", "state"),
    [
        (DinoClassifier, "dinov2_vits14_linear_head.pth", head_state("linear")),
        (DinoSegmenter, "dinov2_vits14_voc2012_linear_head.pth", head_state("seg", outputs=21)),
        (DinoDepth, "dinov2_vits14_nyu_linear_head.pth", head_state("depth")),
    ],
)
def test_official_heads_come_from_the_hub_cache(tmp_path, monkeypatch, meta, network, file, state):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    write_head(tmp_path / "hub" / "checkpoints" / file, state)
    head = network("s", backbone_weights=meta[1]).head.state_dict()
    official = {name.removeprefix("decode_head."): value for name, value in state.items()}
    assert head.keys() == official.keys()
    assert all(torch.equal(head[name], value) for name, value in official.items())


def test_unreachable_official_head_names_its_address(tmp_path, monkeypatch, meta):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def fail(url, *args, **options):
        raise OSError("no route")

    monkeypatch.setattr("dds.models.download.download_url_to_file", fail)
    address = "https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/dinov2_vits14_nyu_linear4_head.pth"
    with pytest.raises(InputError, match=f"{address} cannot be downloaded: no route"):
        DinoDepth("s", "nyu_linear4", backbone_weights=meta[1])


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_numbers_in_a_training_log_do_not_keep_a_head_from_being_read(tmp_path, meta, module):
    """Files written under numpy 1 name their scalars otherwise than numpy 2 does."""
    log = {"best_score": np.float64(0.5), "iter": np.int64(3), "loss": np.float32(0.1)}
    path, state = tmp_path / "head.pth", head_state("depth")
    torch.save({"meta": log, "state_dict": state}, path, _use_new_zipfile_serialization=False)
    own = np.float64().__reduce__()[0].__module__.encode()
    path.write_bytes(path.read_bytes().replace(own, module))
    network = DinoDepth("s", str(path), backbone_weights=meta[1])
    assert torch.equal(network.head.conv_depth.bias, state["decode_head.conv_depth.bias"])


@pytest.mark.parametrize("swiglu", [False, True], ids=["mlp", "swiglu"])
def test_backbones_in_metas_layout(tmp_path, monkeypatch, swiglu):
    gated = {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU} if swiglu else {}
    monkeypatch.setattr(timm, "create_model", lambda *args, **options: tiny_vit(*args, **options, **gated))
    state = meta_state(swiglu=swiglu)
    torch.save(state, tmp_path / "meta.pth")
    tokens = load_backbone("g", str(tmp_path / "meta.pth")).forward_features(picture())
    expected = norm(state, meta_layers(state, picture())[-1])
    torch.testing.assert_close(tokens, expected, rtol=1e-4, atol=1e-4)


def test_backbones_in_timms_layout_and_unfit_ones(tmp_path, meta):
    backbone = load_backbone("s", meta[1])
    state = backbone.state_dict()
    save_file(state, tmp_path / "timm.safetensors")
    again = load_backbone("s", str(tmp_path / "timm.safetensors")).state_dict()
    assert all(torch.equal(again[name], value) for name, value in state.items())
    torch.save(state | {"reg_token": torch.zeros(1, 4, WIDTH)}, tmp_path / "registers.pth")
    with pytest.raises(InputError, match="Unexpected key.*reg_token"):
        load_backbone("s", str(tmp_path / "registers.pth"))
    torch.save({name: value for name, value in state.items() if name != "norm.bias"}, tmp_path / "half.pth")
    with pytest.raises(InputError, match="Missing key.*norm.bias"):
        load_backbone("s", str(tmp_path / "half.pth"))


def test_the_hub_is_asked_only_where_no_file_is_given(monkeypatch, meta):
    assert load_backbone("b").pretrained_cfg["name"] == "vit_base_patch14_dinov2.lvd142m"
    assert load_backbone("b").pretrained_cfg["pretrained"]
    assert not load_backbone("b", pretrained=False).pretrained_cfg["pretrained"]
    assert not load_backbone("b", meta[1]).pretrained_cfg["pretrained"]

    def offline(*args, **options):
        raise FileNotFoundError("no connection.")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(InputError, match=r"no connection\..*dinov2_vitl14_pretrain\.pth as backbone_weights"):
        load_backbone("l")


@pytest.mark.parametrize("size", NAMES)
def test_the_real_backbones_are_as_the_heads_expect(size, monkeypatch):
    monkeypatch.setattr(torch, "linspace", partial(torch.linspace, device="cpu"))  # timm < 1.0.22 reads it
    with torch.device("meta"):
        backbone = load_backbone(size, pretrained=False)
    assert backbone.embed_dim == WIDTHS[size]
    assert DinoDepth.four_layers[len(backbone.blocks)][-1] == len(backbone.blocks) - 1
    assert backbone.pretrained_cfg["mean"] == (0.485, 0.456, 0.406)
    assert backbone.dynamic_img_size
