import pytest
import torch
from conftest import TinyNoiseNetwork
from torch import nn

from dds.errors import InputError
from dds.tasks import DenoiserTraining


class Echo(nn.Module):
    """Takes the noisy image itself for the noise."""

    def forward(self, noisy, t):
        return noisy


def test_loss_is_the_error_of_the_predicted_noise():
    """For a black image x_t - eps = -sqrt(abar) + (sqrt(1 - abar) - 1) eps, whose mean square is known."""
    torch.manual_seed(0)
    task = DenoiserTraining(Echo(), concentration=1.0)
    task.log = lambda *args, **options: None
    loss = task.training_step({"image": torch.zeros(2000, 3, 4, 4)}, 0)
    abar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000).double(), 0)
    expected = (abar + ((1 - abar).sqrt() - 1) ** 2).mean().item()
    assert loss.item() == pytest.approx(expected, rel=0.05)


def test_a_few_steps_make_the_network_better(images):
    torch.manual_seed(0)
    task = DenoiserTraining(TinyNoiseNetwork(), levels=(400,))
    logged = {}
    task.log = lambda name, value, **options: logged.update({name: value.item()})
    batch = {"image": images, "index": torch.arange(4)}
    task.validation_step(batch, 0)
    before = logged["val/psnr_t400"]
    optimizer = torch.optim.Adam(task.parameters(), 0.01)
    for step in range(60):
        optimizer.zero_grad()
        task.training_step(batch, step).backward()
        optimizer.step()
    task.validation_step(batch, 0)
    assert logged["val/psnr_t400"] > before + 1


def test_only_noise_is_trained_for():
    with pytest.raises(InputError, match="v_prediction; expected epsilon"):
        DenoiserTraining(TinyNoiseNetwork(), scheduler={"prediction_type": "v_prediction"})
