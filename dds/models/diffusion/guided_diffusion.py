from diffusers import UNet2DModel
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import TimestepEmbedding, Timesteps

from dds.errors import InputError
from dds.models.diffusion.guided_diffusion_weights import load_guided_diffusion

_MULTIPLIERS = {512: "0.5,1,1,2,2,4,4", 256: "1,1,2,2,4,4", 128: "1,1,2,3,4", 64: "1,2,3,4", 32: "1,2,2,2"}
_GROUPS = 32  # of every group normalisation
_CLASSES = 1000  # of ImageNet


def guided_diffusion(
    weights: str | None = None,
    image_size: int = 64,
    num_channels: int = 128,
    num_res_blocks: int = 2,
    num_heads: int = 4,
    num_heads_upsample: int = -1,
    num_head_channels: int = -1,
    attention_resolutions: str = "16,8",
    channel_mult: str = "",
    dropout: float = 0.0,
    learn_sigma: bool = False,
    class_cond: bool = False,
    use_scale_shift_norm: bool = True,
    resblock_updown: bool = False,
    use_new_attention_order: bool = False,
    diffusion_steps: int = 1000,
    rescale_timesteps: bool = False,
) -> UNet2DModel:
    """Build a network of guided-diffusion (Dhariwal & Nichol 2021) or improved-diffusion, as diffusers' own.

    For YAML: `class_path: dds.models.guided_diffusion.guided_diffusion`. Arguments are the `MODEL_FLAGS` of
    github.com/openai/guided-diffusion, with its defaults; leave out `use_fp16` and `use_checkpoint`. Of the
    flags, the wrong `num_heads`, `num_head_channels`, `use_new_attention_order` and `rescale_timesteps` give
    wrong outputs that no check of the weights can find. The noise schedule is the purifier's: for
    `--noise_schedule cosine` give it `scheduler: {beta_schedule: squaredcos_cap_v2}`.

    Args:
        weights: A checkpoint, e.g. `256x256_diffusion_uncond.pt`, single or half precision; none: untrained.
        image_size: Pixels a side in training.
        num_channels: Channels that the multipliers multiply; a quarter of the time embedding.
        num_res_blocks: Residual blocks a level.
        num_heads: Attention heads of each layer, unless `num_head_channels` is given.
        num_heads_upsample: The same for the upward half; -1: as many.
        num_head_channels: Channels of a head; -1: `num_heads` counts.
        attention_resolutions: Sides, in pixels of an image of `image_size`, at which there is attention.
        channel_mult: Channels of each level as multiples of `num_channels`; default: those of `image_size`.
        dropout: Dropout in training.
        learn_sigma: The network also predicts variances: six output channels instead of three.
        class_cond: The network takes one of 1000 labels, `network(noisy, t, labels)`. A purifier knows none
            and refuses such a network.
        use_scale_shift_norm: The time embedding scales and shifts the normalised features; else it is added.
        resblock_updown: Residual blocks change the resolution; else convolutions.
        use_new_attention_order: Attention channels are stored [q, k, v][head]; else [head][q, k, v].
        diffusion_steps: Length of the schedule; tell the purifier: `scheduler: {num_train_timesteps: 4000}`.
        rescale_timesteps: The network was told t as if there were 1000 steps (improved-diffusion's default).

    Returns:
        The network, float32, images in [-1, 1]. Its `config` cannot tell heads given by number, the wider
        time embedding of size 512, or rescaled time steps: build it with this function, not from there.

    Raises:
        InputError: If the flags contradict each other or the weights.
    """
    multipliers = _numbers("channel_mult", channel_mult or _MULTIPLIERS.get(image_size, ""))
    widths = [_width(num_channels * multiplier) for multiplier in multipliers]
    factors = {image_size // side for side in _numbers("attention_resolutions", attention_resolutions)}
    attends = [2**level in factors for level in range(len(widths))]
    network = UNet2DModel(
        sample_size=image_size,
        out_channels=6 if learn_sigma else 3,
        block_out_channels=widths,
        layers_per_block=num_res_blocks,
        down_block_types=[_block("Down", attention, resblock_updown) for attention in attends],
        up_block_types=[_block("Up", attention, resblock_updown) for attention in reversed(attends)],
        downsample_type="resnet" if resblock_updown else "conv",
        upsample_type="resnet" if resblock_updown else "conv",
        dropout=dropout,
        attention_head_dim=None if num_head_channels == -1 else num_head_channels,
        norm_num_groups=_GROUPS,
        attn_norm_num_groups=_GROUPS,  # else the middle attention of scale-shift networks has no norm
        time_embedding_dim=4 * num_channels,
        resnet_time_scale_shift="scale_shift" if use_scale_shift_norm else "default",
        num_class_embeds=_CLASSES if class_cond else None,
    )
    _set_time_embedding(network, num_channels, 1000 / diffusion_steps if rescale_timesteps else 1.0)
    _set_heads(network, num_heads, num_heads_upsample, num_head_channels)
    if weights is not None:
        load_guided_diffusion(network, weights, use_new_attention_order)
    return network


def _numbers(flag: str, text: str) -> list[float]:
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) <= 0:
        raise InputError(
            f"{flag}={text!r}; expected positive numbers with commas, such as 1,2,3,4. An empty channel_mult "
            f"means that of image_size {', '.join(map(str, _MULTIPLIERS))}; give it for any other size."
        )
    return numbers


def _width(channels: float) -> int:
    if channels < _GROUPS or channels % _GROUPS:
        raise InputError(
            f"num_channels times channel_mult gives a level {channels:g} channels; expected multiples of "
            f"{_GROUPS}, the groups of its normalisation."
        )
    return int(channels)


def _block(direction: str, attention: bool, resblock_updown: bool) -> str:
    if attention:
        return f"Attn{direction}Block2D"
    return f"Resnet{direction}sampleBlock2D" if resblock_updown else f"{direction}Block2D"


def _set_time_embedding(network: UNet2DModel, num_channels: int, scale: float) -> None:
    """Embed t in `num_channels`; diffusers takes the first level's width, half as much for size 512."""
    network.time_proj = Timesteps(num_channels, flip_sin_to_cos=True, downscale_freq_shift=0, scale=scale)
    network.time_embedding = TimestepEmbedding(num_channels, 4 * num_channels)


def _set_heads(network: UNet2DModel, num_heads: int, num_heads_upsample: int, num_head_channels: int) -> None:
    """Set the heads of each attention; diffusers' own argument cannot say a number of heads."""
    for name, layer in network.named_modules():
        if isinstance(layer, Attention):
            upward = name.startswith("up_blocks") and num_heads_upsample != -1
            layer.heads = _heads(
                layer.query_dim, num_heads_upsample if upward else num_heads, num_head_channels
            )
            layer.scale = (layer.query_dim / layer.heads) ** -0.5


def _heads(width: int, num_heads: int, num_head_channels: int) -> int:
    by_number = num_head_channels == -1
    divisor = num_heads if by_number else num_head_channels
    if divisor < 1 or width % divisor:
        flag = "num_heads" if by_number else "num_head_channels"
        raise InputError(
            f"{flag}={divisor} does not divide the {width} channels of an attention layer; expected a number "
            "that divides those of every such layer. Copy the flag that the checkpoint was trained with."
        )
    return num_heads if by_number else width // num_head_channels
