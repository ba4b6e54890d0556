"""Whatever wraps a network keeps its normalisation and features, or is refused."""

import copy

import pytest
import timm
import torch
from lightning.pytorch import LightningModule
from timm.utils import ModelEmaV3
from torch import nn
from torch.optim.swa_utils import AveragedModel

from dds.errors import InputError
from dds.models.wrappers import nested, unwrapped
from dds.tasks import Classification

IMAGE = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def network():
    torch.manual_seed(0)
    return timm.create_model("resnet10t", num_classes=4).eval()


HANDING_ON = {
    "parallel": nn.DataParallel,
    "compiled": lambda one: torch.compile(one, backend="eager"),
    "average": AveragedModel,
    "timm's average": ModelEmaV3,
    "sequence of one": nn.Sequential,
    "several": lambda one: nn.DataParallel(nn.Sequential(torch.compile(one, backend="eager"))),
}


@pytest.mark.parametrize("kind", HANDING_ON)
def test_what_hands_images_on_is_looked_through(kind):
    bare, wrapped = Classification(network()), Classification(HANDING_ON[kind](network()))
    assert type(unwrapped(HANDING_ON[kind](network()))) is type(network())
    assert torch.equal(wrapped.mean, bare.mean)
    assert torch.equal(wrapped.std, bare.std)
    for one, other in zip(wrapped.eval().look(IMAGE), bare.eval().look(IMAGE), strict=True):
        assert torch.equal(one, other)


class Lit(LightningModule):
    """As people train a network."""

    def __init__(self, net):
        super().__init__()
        self.net, self.loss = net, nn.CrossEntropyLoss()

    def forward(self, image):
        return self.net(image)


class Own(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, image):
        return self.net((image - 0.5) / 0.5)


@pytest.mark.parametrize("kind", [Lit, Own])
def test_a_wrapper_that_may_normalise_by_itself_is_refused_until_somebody_says(kind):
    with pytest.raises(InputError, match=rf"{kind.__name__} is wrapped around ResNet.*0\.485.*task\.mean"):
        Classification(kind(network()))
    task = Classification(kind(network()), mean=[0.5], std=[0.5]).eval()
    output, features = task.look(IMAGE)
    assert output.shape == (2, 4)
    assert features.shape == (2, 512)  # those of the network inside


def test_who_normalises_before_the_network_is_believed():
    class Normalise(nn.Module):
        def forward(self, image):
            return image - 0.5

    assert Classification(nn.Sequential(Normalise(), network())).mean.eq(0).all()


def test_scripted_networks_say_nothing_of_their_input():
    scripted = torch.jit.trace(network(), IMAGE)
    with pytest.raises(InputError, match="scripted network"):
        Classification(scripted)
    assert Classification(scripted, mean=[0.0], std=[1.0]).eval()(IMAGE).shape == (2, 4)


def test_networks_of_several_parts_are_not_descended_into():
    assert len(list(nested(network()))) == 1
    assert len(list(nested(copy.deepcopy(Lit(network()))))) == 2
