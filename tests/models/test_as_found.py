import pytest
import torch
from conftest import TinyClassifier, TinyNoiseNetwork
from torch import nn

import dds
from dds.errors import InputError
from dds.models.as_found import as_found


class Network(nn.Module):
    """With a part in another mode than the whole, frozen weights and buffers."""

    def __init__(self):
        super().__init__()
        self.body = TinyClassifier()
        self.norm = nn.BatchNorm2d(3)
        self.norm.eval()
        self.body.body[0].requires_grad_(False)
        self.body.body[4].weight.grad = torch.ones_like(self.body.body[4].weight)

    def forward(self, image):
        return self.body(self.norm(image))


def state(network):
    return (
        [part.training for part in network.modules()],
        [(weight.requires_grad, weight.dtype, weight.data_ptr()) for weight in network.parameters()],
        [None if weight.grad is None else weight.grad.sum().item() for weight in network.parameters()],
        [(name, buffer.data_ptr(), buffer.tolist()) for name, buffer in network.named_buffers()],
        [sorted(vars(part)) for part in network.modules()],
    )


def test_whatever_is_done_to_a_network_is_undone():
    network = Network()
    before = state(network)
    with as_found(network):
        network.train().requires_grad_(False).to(torch.float64)
        network(torch.rand(2, 3, 8, 8).double())
        network.norm.running_mean += 1
        network.forward = None
        network.body.body[4].weight.grad = None
    assert state(network) == before


def test_also_after_an_error():
    network = Network()
    before = state(network)

    def fail():
        with as_found(network):
            network.half().eval()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert state(network) == before


@pytest.mark.parametrize("fails", [False, True])
def test_an_evaluation_gives_back_what_it_was_lent(tmp_path, fails):
    network, denoiser = Network(), TinyNoiseNetwork().half()
    before = state(network), state(denoiser)
    task = dds.tasks.Classification(network)
    purifier = dds.purifiers.DiffusionDenoiser(denoiser)
    assert not denoiser.training
    protocol = dds.AttackAndPurify(purifier, [50], attacks={"pgd": dds.attacks.PGD(steps=1)}, draws=1)
    label = 7 if fails else 0
    data = [(torch.rand(3, 8, 8), 0), (torch.rand(3, 8, 8), label)]
    try:
        dds.evaluate(task, data, protocol, tmp_path / "run", accelerator="cpu", quiet=True)
    except InputError:
        assert fails
    assert (state(network), state(denoiser)) == before
