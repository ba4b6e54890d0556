import pytest
import torch
from conftest import TinyNoiseNetwork
from diffusers import DDPMScheduler

from dds.models.diffusion.denoiser import diffuse, predict

ABAR = torch.tensor([0.9999, 0.6, 0.05, 1e-3]).reshape(4, 1, 1, 1)
T = torch.arange(4)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("outputs", [3, 6])
def test_image_and_noise_belong_together(images, prediction_type, outputs):
    """Whatever the network says, noising the image with the noise gives back the noisy image."""
    noisy = images.double() * 2 - 1
    network = TinyNoiseNetwork(outputs).double()
    prediction = predict(network, noisy, T, ABAR.double(), prediction_type)
    assert torch.allclose(diffuse(prediction.image, prediction.noise, ABAR.double()), noisy, atol=1e-10)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_a_perfect_network_finds_image_and_noise(images, prediction_type):
    image, noise = images.double() * 2 - 1, torch.randn(images.shape).double()
    scheduler, t = DDPMScheduler(), torch.tensor([0, 10, 400, 999])
    truth = {
        "epsilon": noise,
        "v_prediction": scheduler.get_velocity(image, noise, t),
        "sample": image,
    }[prediction_type]
    alpha_cumprod = scheduler.alphas_cumprod[t].double().reshape(-1, 1, 1, 1)
    noisy = scheduler.add_noise(image, noise, t)
    prediction = predict(lambda noisy, t: truth, noisy, t, alpha_cumprod, prediction_type)
    assert torch.allclose(prediction.image, image, atol=1e-4)
    assert torch.allclose(prediction.noise, noise, atol=1e-4)
