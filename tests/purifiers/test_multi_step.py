import numpy as np
import pytest
import torch
from conftest import TinyNoiseNetwork
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel
from diffusers.schedulers import scheduling_ddpm

from dds.errors import InputError
from dds.noise import Streams
from dds.purifiers import DiffusionDenoiser
from dds.purifiers.multi_step import MultiStepDenoiser

STREAMS = Streams(0, (0, 1, 2, 3))
TINY = TinyNoiseNetwork()
SAMPLERS = [
    {"sampler": "ddpm"},
    {"sampler": "ddpm", "variance": "learned"},
    {"sampler": "ddim"},
    {"sampler": "ddim", "eta": 0.7},
    {"sampler": "ddim", "rederive_noise": True},
]


def noise_at(t, images):
    return STREAMS.child("reverse", t).normal(images)


@pytest.mark.parametrize("clamp", [True, False])
@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])  # the last step of either is the predicted image
def test_one_step_is_the_one_shot(images, sampler, clamp):
    network = TinyNoiseNetwork()
    one_shot = DiffusionDenoiser(network, clamp=clamp)
    purifier = MultiStepDenoiser(network, sampler=sampler, steps=1, clamp=clamp)
    for t in (0, 50, 396):
        level = purifier.level(t)
        assert purifier.calls(level) == one_shot.calls(level)
        assert torch.allclose(purifier(images, level, STREAMS), one_shot(images, level, STREAMS), atol=1e-6)


@pytest.mark.parametrize(
    ("t", "steps", "expected"),
    [
        (4, None, [4, 3, 2, 1, 0]),
        (99, 4, [99, 74, 49, 24]),
        (10, 3, [10, 6, 3]),
        (999, 7, [999, 856, 713, 570, 428, 285, 142]),
        (2, 10, [2, 1, 0]),
        (0, None, [0]),
    ],
)
def test_times(t, steps, expected):
    network = TinyNoiseNetwork()
    called = []
    network.register_forward_hook(lambda module, inputs, output: called.extend(inputs[1].tolist()))
    purifier = MultiStepDenoiser(network, steps=steps)
    level = purifier.level(t)
    purifier(torch.rand(1, 3, 8, 8), level, Streams(0, (0,)))
    assert called == purifier.times(level) == expected
    assert purifier.calls(level) == len(expected)


@pytest.mark.parametrize("t", [999, 396, 145, 50])
def test_times_are_those_of_diffusers_trailing_spacing(t):
    """Which counts one time more, of -1, where rounding errors add up."""
    scheduler = DDIMScheduler(num_train_timesteps=t + 1, timestep_spacing="trailing")
    purifier = MultiStepDenoiser(TINY)
    for purifier.steps in range(1, t + 2):
        scheduler.set_timesteps(purifier.steps)
        assert purifier.times(purifier.level(t)) == scheduler.timesteps.tolist()[: purifier.steps]


def start(scheduler, images, t):
    return scheduler.add_noise(images * 2 - 1, STREAMS.normal(images), torch.tensor([t]))


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("clamp", [True, False])
@pytest.mark.parametrize(("t", "steps"), [(24, None), (200, 7), (999, 20)])
@pytest.mark.parametrize(
    ("variance", "theirs", "outputs"),
    [("fixed_small", "fixed_small", 3), ("learned", "learned_range", 6)],
    ids=["fixed", "learned"],
)
def test_ddpm_is_the_loop_over_diffusers_scheduler(
    images, t, steps, clamp, prediction_type, variance, theirs, outputs, monkeypatch
):
    """But for the noise that it adds in a last step from t > 0; guided-diffusion adds none."""
    network, config = TinyNoiseNetwork(outputs), {"prediction_type": prediction_type}
    purifier = MultiStepDenoiser(network, config, "ddpm", steps, clamp=clamp, variance=variance)
    scheduler = DDPMScheduler(clip_sample=clamp, variance_type=theirs, **config)
    times = purifier.times(purifier.level(t))
    scheduler.set_timesteps(timesteps=times)
    x = start(scheduler, images, t)
    for now in times:
        noise = noise_at(now, images) * (now != times[-1])
        monkeypatch.setattr(scheduling_ddpm, "randn_tensor", lambda *args, noise=noise, **options: noise)
        x = scheduler.step(network(x, torch.full((4,), now)), now, x).prev_sample
    purified = purifier(images, purifier.level(t), STREAMS)
    assert torch.allclose(purified, (x + 1) / 2, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("clamp", [True, False])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("rederive", [False, True])
@pytest.mark.parametrize(("t", "steps", "whole"), [(24, None, 1000), (199, 4, 20), (999, 20, 20)])
def test_ddim_is_the_loop_over_diffusers_scheduler(
    images, t, steps, whole, eta, rederive, clamp, prediction_type
):
    """The scheduler steps through all of its times in `whole` steps; ours are those from t down."""
    network, config = TinyNoiseNetwork(), {"prediction_type": prediction_type}
    purifier = MultiStepDenoiser(network, config, "ddim", steps, eta, clamp, rederive_noise=rederive)
    scheduler = DDIMScheduler(clip_sample=clamp, timestep_spacing="trailing", **config)
    scheduler.set_timesteps(whole)
    x = start(scheduler, images, t)
    for now in scheduler.timesteps[scheduler.timesteps <= t]:
        said = network(x, torch.full((4,), now))
        noise = noise_at(now.item(), images)
        x = scheduler.step(said, now, x, eta, rederive, variance_noise=noise).prev_sample
    purified = purifier(images, purifier.level(t), STREAMS)
    assert torch.allclose(purified, (x + 1) / 2, atol=1e-4, rtol=1e-4)


def test_nothing_is_left_of_the_signal(images):
    """The last time of a schedule with zero terminal signal, where variances are differences of equals."""
    config = {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
    for sampler in (*SAMPLERS, {"sampler": "ddim", "eta": 1.0}):
        purifier = MultiStepDenoiser(TinyNoiseNetwork(6), config, steps=4, **sampler)
        assert purifier(images, purifier.level(999), STREAMS).isfinite().all()


def test_perfect_denoiser_gives_back_the_image(images):
    """A network that knows the image predicts the very noise at each time, whatever the sampler added."""
    abar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))

    class Oracle(torch.nn.Module):
        def forward(self, noisy, t):
            now = abar[t[0]]
            noise = (noisy - now**0.5 * (images * 2 - 1)) / (1 - now) ** 0.5
            return torch.cat([noise, torch.zeros_like(noise)], 1)

    for sampler in SAMPLERS:
        purifier = MultiStepDenoiser(Oracle(), **sampler, clamp=False)
        assert torch.allclose(purifier(images, purifier.level(50), STREAMS), images, atol=1e-4)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("checkpoint", [False, True])
def test_gradients_equal_finite_differences(images, sampler, checkpoint):
    network = TinyNoiseNetwork(6).double()
    purifier = MultiStepDenoiser(network, **sampler, steps=4, clamp=False, checkpoint=checkpoint)
    image = images[:1, :, :4, :4].double().requires_grad_()
    level, streams = purifier.level(145), Streams(0, (0,))
    assert torch.autograd.gradcheck(lambda x: purifier(x, level, streams), image)


def gradient_and_saved_bytes(purifier, images):
    """Return the gradient of a purification and the bytes that it kept for it, weights apart."""
    saved = []
    image = images.clone().requires_grad_()

    def keep(tensor):
        saved.append(tensor.nbytes if tensor.shape[:1] == image.shape[:1] else 0)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        purified = purifier(image, purifier.level(30), STREAMS)
    (gradient,) = torch.autograd.grad((purified * torch.linspace(0, 1, 8)).sum(), image)
    return gradient, sum(saved)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_checkpointing_changes_memory_not_gradients(images, sampler):
    plain = MultiStepDenoiser(unet(), **sampler, steps=6)
    frugal = MultiStepDenoiser(plain.model, **sampler, steps=6, checkpoint=True)
    gradient, kept = gradient_and_saved_bytes(plain, images)
    same, less = gradient_and_saved_bytes(frugal, images)
    assert gradient.abs().sum() > 0
    assert torch.equal(gradient, same)
    assert less <= 6 * images.nbytes  # the image before each step
    assert kept > 20 * less


def unet():
    torch.manual_seed(0)
    return UNet2DModel(
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        norm_num_groups=4,
        layers_per_block=1,
        out_channels=6,
    )


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_image_does_not_depend_on_its_batch(images, sampler):
    purifier = MultiStepDenoiser(unet(), **sampler, steps=5)
    level = purifier.level(145)
    alone = purifier(images[2:3], level, Streams(0, (2,)))
    assert torch.allclose(purifier(images, level, STREAMS)[2:3], alone, atol=1e-5)


def test_noise_of_a_step_is_its_own(images):
    """Steps, draws and the start get different numbers; the same draw gets the same again."""
    purifier = MultiStepDenoiser(TinyNoiseNetwork(), steps=3)
    level = purifier.level(145)
    first = purifier(images, level, STREAMS.child(0))
    assert torch.equal(first, purifier(images, level, STREAMS.child(0)))
    assert not torch.equal(first, purifier(images, level, STREAMS.child(1)))
    noises = [STREAMS.normal(images), *(noise_at(t, images) for t in purifier.times(level))]
    assert len({noise.sum().item() for noise in noises}) == 4


def test_sides_that_the_network_cannot_halve():
    purifier = MultiStepDenoiser(unet(), steps=2)
    image = torch.rand(1, 3, 9, 10)
    purified = purifier(image, purifier.level(50), Streams(0, (0,)))
    assert purified.shape == image.shape
    assert purified.min() >= 0
    assert purified.max() <= 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sampler": "euler"}, "ddpm or ddim"),
        ({"steps": 0}, "at least 1"),
        ({"sampler": "ddim", "eta": 1.5}, "0 .deterministic. to 1"),
        ({"sampler": "ddpm", "eta": 0.5}, "eta=0.5 is of DDIM alone.*use sampler ddim"),
        ({"sampler": "ddpm", "rederive_noise": True}, "rederive_noise=True.*use sampler ddim"),
        ({"sampler": "ddim", "variance": "learned"}, "variance=learned is of DDPM alone"),
        ({"variance": "fixed_large"}, "'fixed_large'; expected fixed_small or learned"),
    ],
)
def test_settings_that_make_no_sense(settings, words):
    with pytest.raises(InputError, match=words):
        MultiStepDenoiser(TinyNoiseNetwork(), **settings)


def test_a_network_without_learned_variance_is_refused(images):
    purifier = MultiStepDenoiser(TINY, steps=2, variance="learned")
    with pytest.raises(InputError, match="does not return 6 channels.*variance=fixed_small"):
        purifier(images, purifier.level(50), STREAMS)


def test_learned_variances_lie_between_the_posteriors_and_beta(images):
    """A step with variance -1 everywhere is that of the posterior's variance, one with 1 that of beta."""

    class Sure(torch.nn.Module):
        def __init__(self, share):
            super().__init__()
            self.share, self.network = share, TinyNoiseNetwork()

        def forward(self, noisy, t):
            said = self.network(noisy, t)
            return torch.cat([said, torch.full_like(said, self.share)], 1)

    least, greatest = (MultiStepDenoiser(Sure(share), steps=5, variance="learned") for share in (-1.0, 1.0))
    fixed = MultiStepDenoiser(TINY, steps=5)
    level = fixed.level(145)
    assert torch.allclose(least(images, level, STREAMS), fixed(images, level, STREAMS), atol=1e-6)
    assert not torch.allclose(greatest(images, level, STREAMS), fixed(images, level, STREAMS), atol=1e-3)
