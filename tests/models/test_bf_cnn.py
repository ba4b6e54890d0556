import torch

from dds.models.bf_cnn import BFCNN
from dds.models.weights import pretrained


def test_is_homogeneous(images):
    """A network without additive constants scales with its input (Mohan et al., ICLR 2020, section 4)."""
    torch.manual_seed(0)
    network = BFCNN().double()
    for factor in network.gammas:
        torch.nn.init.normal_(factor)
    noise = network(images.double())
    assert noise.abs().max() > 0
    for scale in (0.1, 7.0):
        assert torch.allclose(network(scale * images.double()), scale * noise, rtol=1e-9, atol=0)


def test_layers_without_a_mean_are_conv_over_deviation_times_gamma(images):
    torch.manual_seed(0)
    network = BFCNN()
    for factors in (network.gammas, network.running_sd):
        for factor in factors:
            torch.nn.init.uniform_(factor, 0.5, 2)
    norms = []
    for gamma, deviation in zip(network.gammas, network.running_sd, strict=True):
        norm = torch.nn.BatchNorm2d(64, eps=1e-30).eval()
        norm.weight.data, norm.running_var = gamma.detach().flatten(), deviation.detach().flatten() ** 2
        norms.append(norm)
    first, *middle, last = network.conv_layers
    x = first(images).relu()
    for conv, norm in zip(middle, norms, strict=True):
        x = norm(conv(x)).relu()
    assert torch.allclose(network(images), last(x), rtol=1e-4, atol=1e-7)


def test_public_weights_load_strictly(shared_data):
    network = pretrained(BFCNN(), str(shared_data / "weights" / "bf_cnn_color" / "model.pt"))
    assert sum(parameter.numel() for parameter in network.parameters()) == 669_312
