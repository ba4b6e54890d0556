"""What holds for every control."""

import pytest
import torch
from jsonargparse import ArgumentParser

from dds.controls import (
    Blur,
    Brightness,
    Contrast,
    Control,
    CropAndResize,
    GaussianNoise,
    JPEGCompression,
    Rotation,
)
from dds.errors import InputError
from dds.noise import Streams

CONTROLS = [Blur, Brightness, Contrast, CropAndResize, GaussianNoise, JPEGCompression, Rotation]
STREAMS = Streams(0, (0, 1, 2))

every = pytest.mark.parametrize("control", CONTROLS)


@pytest.fixture
def smooth():
    """Three images like photographs: neighbours alike, full range."""
    coarse = torch.rand(3, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, (40, 52), mode="bicubic").clamp(0, 1)


@every
def test_result_of_an_image_hangs_on_no_other(control, smooth):
    together = control(3)(smooth, STREAMS)
    alone = torch.cat([control(3)(smooth[i : i + 1], Streams(0, (i,))) for i in range(3)])
    assert torch.allclose(together, alone, atol=1e-6)
    assert together.shape == smooth.shape


@every
def test_draws_hang_on_the_streams_alone(control, smooth):
    drawn = [control(3)(smooth, STREAMS.child(i)) for i in (0, 0, 1, 2, 3)]
    assert torch.equal(drawn[0], drawn[1])
    random = control in (CropAndResize, GaussianNoise, Rotation)
    assert all(torch.equal(drawn[0], other) for other in drawn[2:]) != random


@every
def test_damage_grows_with_severity(control, smooth):
    errors = [(control(severity)(smooth, STREAMS) - smooth).square().mean() for severity in range(1, 6)]
    assert errors == sorted(errors)
    assert errors[0] > 1e-6


@every
def test_values_stay_in_range_at_the_ends_of_it(control):
    rounded = torch.rand(3, 3, 26, 31, generator=torch.Generator().manual_seed(0)).round()
    for image in (rounded, torch.ones_like(rounded), torch.zeros_like(rounded)):
        out = control(5)(image, STREAMS)
        assert 0 <= out.min() <= out.max() <= 1


@every
def test_says_whether_pixels_move(control):
    assert control.moves_pixels == (control in (CropAndResize, Rotation))


@every
@pytest.mark.parametrize("severity", [0, 6])
def test_bad_severity(control, severity):
    with pytest.raises(InputError, match=rf"severity={severity}; expected 1 \(mild\) to 5"):
        control(severity)


@every
def test_built_from_yaml(control, smooth):
    parser = ArgumentParser()
    parser.add_subclass_arguments(Control, "control")
    given = {"class_path": control.__name__, "init_args": {"severity": 2}}
    built = parser.instantiate(parser.parse_object({"control": given})).control
    assert torch.equal(built(smooth, STREAMS), control(2)(smooth, STREAMS))
