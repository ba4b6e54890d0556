import numpy as np
import pytest
import torch
from conftest import TinyNoiseNetwork
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel

from dds.errors import InputError
from dds.noise import Streams
from dds.purifiers import DiffusionDenoiser


def by_formula(network, image, t, noise, clamp):
    """The method's three formulas in numpy float64, written independently of the package."""
    abar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))[t]
    x_t = np.sqrt(abar) * (2 * image.double().numpy() - 1) + np.sqrt(1 - abar) * noise.double().numpy()
    with torch.no_grad():
        eps = network(torch.from_numpy(x_t), torch.full((len(image),), t)).numpy()[:, :3]
    x0 = (x_t - np.sqrt(1 - abar) * eps) / np.sqrt(abar)
    return ((np.clip(x0, -1, 1) if clamp else x0) + 1) / 2


@pytest.mark.parametrize("t", [0, 10, 145, 396, 999])
@pytest.mark.parametrize("clamp", [True, False])
@pytest.mark.parametrize("outputs", [3, 6])  # 6: learned variance
def test_equals_the_formulas(images, t, clamp, outputs):
    network = TinyNoiseNetwork(outputs).double()
    purifier = DiffusionDenoiser(network, clamp=clamp)
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0)).double()
    got = purifier.denoise(images.double(), purifier.level(t), noise)
    assert np.allclose(got.numpy(), by_formula(network, images, t, noise, clamp), atol=1e-5, rtol=1e-4)


def test_one_shot_is_what_the_diffusers_scheduler_predicts(images):
    network, t = TinyNoiseNetwork(), 259
    purifier, scheduler = DiffusionDenoiser(network), DDPMScheduler()
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    noisy = scheduler.add_noise(images * 2 - 1, noise, torch.tensor([t]))
    predicted = scheduler.step(network(noisy, torch.full((4,), t)), t, noisy).pred_original_sample
    assert torch.allclose(purifier.denoise(images, purifier.level(t), noise), (predicted + 1) / 2, atol=1e-5)


def test_gradients_equal_finite_differences(images):
    purifier = DiffusionDenoiser(TinyNoiseNetwork().double(), clamp=False)
    image = images[:2, :, :4, :4].double().requires_grad_()
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0)).double()
    for t in (10, 259):
        assert torch.autograd.gradcheck(lambda x, t=t: purifier.denoise(x, purifier.level(t), noise), image)


def test_knows_the_noise_so_removes_it(images):
    """A network that returns the very noise gives back the image."""
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))

    class Oracle(torch.nn.Module):
        def forward(self, noisy, t):
            return noise

    purifier = DiffusionDenoiser(Oracle())
    assert torch.allclose(purifier.denoise(images, purifier.level(145), noise), images, atol=1e-5)


def test_same_stream_same_image_other_draw_other_image(images):
    purifier = DiffusionDenoiser(TinyNoiseNetwork())
    streams, level = Streams(0, (0, 1, 2, 3)), purifier.level({"sigma": 0.25})
    assert level.t == 145
    first = purifier(images, level, streams.child(0))
    assert torch.equal(first, purifier(images, level, streams.child(0)))
    assert not torch.equal(first, purifier(images, level, streams.child(1)))


def unet(learned_variance=False):
    torch.manual_seed(0)
    return UNet2DModel(
        block_out_channels=(8, 16, 16),
        out_channels=6 if learned_variance else 3,
        down_block_types=("DownBlock2D",) * 3,
        up_block_types=("UpBlock2D",) * 3,
        norm_num_groups=4,
        layers_per_block=1,
    )


@pytest.mark.parametrize("learned_variance", [False, True])
def test_diffusers_network_takes_any_size_and_is_frozen(learned_variance):
    purifier = DiffusionDenoiser(unet(learned_variance))
    assert purifier.size_multiple == 4
    image = torch.rand(2, 3, 18, 21, requires_grad=True)
    purified = purifier(image, purifier.level(50), Streams(0, (0, 1)))
    assert purified.shape == image.shape
    assert purified.min() >= 0
    assert purified.max() <= 1
    purified.sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in purifier.parameters())


@pytest.mark.parametrize("level", [-1, 1000])
def test_levels_outside_the_schedule(level):
    with pytest.raises(InputError, match="0 <= t <= 999"):
        DiffusionDenoiser(TinyNoiseNetwork()).level(level)


SCHEDULERS = [
    DDPMScheduler(),
    DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction"),
    DDPMScheduler(beta_schedule="scaled_linear", prediction_type="sample", num_train_timesteps=500),
    DDPMScheduler(variance_type="learned_range"),
    DDIMScheduler(prediction_type="v_prediction", rescale_betas_zero_snr=True),
    DDIMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="sample"),
]


@pytest.mark.parametrize(
    "scheduler", SCHEDULERS, ids=lambda s: f"{s.config.beta_schedule}-{s.config.prediction_type}"
)
def test_folder_purifies_as_its_own_scheduler_predicts(tmp_path, scheduler):
    network = unet(learned_variance=scheduler.config.get("variance_type") == "learned_range").eval()
    DDPMPipeline(network, scheduler).save_pretrained(tmp_path)
    purifier = DiffusionDenoiser(str(tmp_path))
    image = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    scheduler.set_timesteps(len(purifier.schedule))
    for t in (0, 10, 259, len(purifier.schedule) - 1):
        noisy = scheduler.add_noise(image * 2 - 1, noise, torch.tensor([t]))
        with torch.no_grad():
            said = network(noisy, t).sample
        if isinstance(scheduler, DDIMScheduler):
            said = said[:, :3]
        predicted = scheduler.step(said, t, noisy).pred_original_sample
        purified = purifier.denoise(image, purifier.level(t), noise)
        assert torch.allclose(purified, (predicted + 1) / 2, atol=2e-5)


def test_class_conditional_network_is_refused():
    network = UNet2DModel(num_class_embeds=10, block_out_channels=(32, 32, 32, 32))
    with pytest.raises(InputError, match="class-conditional"):
        DiffusionDenoiser(network)
