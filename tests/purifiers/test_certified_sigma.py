"""Behind which purifiers a radius about the user's pixels holds."""

import pytest
import torch
from conftest import TinyNoiseNetwork, complete_purifiers
from torch import nn

from dds.errors import InputError
from dds.noise import Streams
from dds.purifiers import (
    JPEG,
    BitDepth,
    Chain,
    DiffusionDenoiser,
    Dithering,
    GaussianBlur,
    GaussianDenoiser,
    LatentDenoiser,
    MedianFilter,
    MultiStepDenoiser,
    NoiseOnly,
    Purifier,
    ResizeOnly,
)
from dds.purifiers.smoothing import check_smoothing

STREAMS = Streams(0, (0, 1, 2, 3))


def diffusion():
    return DiffusionDenoiser(TinyNoiseNetwork())


def gaussian():
    return GaussianDenoiser(nn.Conv2d(3, 3, 3, padding=1))


SMOOTHING = {
    "DiffusionDenoiser": diffusion,
    "GaussianDenoiser": gaussian,
    "MultiStepDenoiser ddpm": lambda: MultiStepDenoiser(TinyNoiseNetwork(), steps=3),
    "MultiStepDenoiser ddim": lambda: MultiStepDenoiser(TinyNoiseNetwork(), sampler="ddim", steps=3, eta=0.5),
    "NoiseOnly": lambda: NoiseOnly(0.1),
    "Chain of noise first": lambda: Chain([diffusion(), JPEG(50)]),
    "Chain in a Chain": lambda: Chain([Chain([gaussian(), GaussianBlur()]), ResizeOnly(0.5)]),
}

REFUSED = {
    "JPEG": (JPEG, "adds no Gaussian noise"),
    "BitDepth": (BitDepth, "adds no Gaussian noise"),
    "Dithering": (Dithering, "adds no Gaussian noise"),
    "GaussianBlur": (GaussianBlur, "adds no Gaussian noise"),
    "MedianFilter": (MedianFilter, "adds no Gaussian noise"),
    "ResizeOnly": (lambda: ResizeOnly(0.5), "adds no Gaussian noise"),
    "LatentDenoiser": (
        lambda: LatentDenoiser.__new__(LatentDenoiser),
        "added to the latent, not to the pixels",
    ),
    "Chain of a resize first": (
        lambda: Chain([ResizeOnly(0.5), diffusion()]),
        "of a Chain the first member counts: ResizeOnly has no certificate",
    ),
    "Chain of deterministic ones": (lambda: Chain([JPEG(), BitDepth()]), "JPEG has no certificate"),
}


def level_of(purifier):
    return purifier.level({"sigma": 0.25}) if purifier.has_levels else None


def test_each_purifier_is_in_one_of_the_tables():
    said = {name.split()[0] for name in (*SMOOTHING, *REFUSED)}
    assert said == {kind.__name__ for kind in complete_purifiers()}


@pytest.mark.parametrize("name", SMOOTHING)
def test_sigma_is_that_of_the_level_in_use(name):
    purifier = SMOOTHING[name]()
    level = level_of(purifier)
    assert purifier.certified_sigma(level) == (level.sigma if level else 0.1)
    assert level is None or level.sigma == pytest.approx(0.2516, abs=5e-5)  # not the 0.25 that was asked for


@pytest.mark.parametrize("name", SMOOTHING)
def test_the_image_is_seen_through_that_noise_alone(name, images):
    purifier = SMOOTHING[name]()
    assert check_smoothing(purifier, images, level_of(purifier), STREAMS) > 0


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_words(name):
    make, reason = REFUSED[name]
    with pytest.raises(InputError, match=reason):
        make().certified_sigma(diffusion().level(145))


class Own(DiffusionDenoiser):
    """One that is wrong about itself in some way."""

    def __init__(self, fault):
        super().__init__(TinyNoiseNetwork())
        self.fault = fault

    def certified_sigma(self, level):
        return level.sigma * (2 if self.fault == "sigma in [-1, 1]" else 1)

    def forward(self, image, level, streams):
        if self.fault == "its own noise":
            return self.denoise(image, level, torch.randn_like(image))
        if self.fault == "no noise":
            return self.denoise(image, level, torch.zeros_like(image))
        purified = super().forward(image, level, streams)
        return (0.9 * purified + 0.1 * image) if self.fault == "guidance" else purified


@pytest.mark.parametrize("fault", ["sigma in [-1, 1]", "its own noise", "no noise", "guidance"])
def test_one_that_is_wrong_about_itself_is_found_out(fault, images):
    purifier = Own(fault)
    with pytest.raises(InputError, match="Own at sigma=.* does not see the image through that noise alone"):
        check_smoothing(purifier, images, purifier.level(145), STREAMS)


def test_a_new_purifier_has_no_certificate_unless_it_says_so():
    class New(Purifier):
        def level(self, given):
            return diffusion().level(given)

        def forward(self, image, level, streams):
            return image

    with pytest.raises(InputError, match="New has no certificate: it does not say"):
        New().certified_sigma(diffusion().level(50))
