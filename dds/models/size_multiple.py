from torch import nn


def size_multiple(network: nn.Module) -> int:
    """Return what the sides of a network's images must divide by.

    Args:
        network: A diffusers UNet or autoencoder, which halves between the entries of its
            `block_out_channels`; a network of segmentation-models-pytorch, which tells; any other network is
            taken to accept all sizes.
    """
    if getattr(network, "requires_divisible_input_shape", False):
        return int(network.encoder.output_stride)  # type: ignore[union-attr, arg-type]
    blocks = getattr(getattr(network, "config", None), "block_out_channels", [0])
    return 2 ** (len(blocks) - 1)  # type: ignore[no-any-return]
