"""What a scene contains: solids, materials, camera and light, drawn from counter-based random numbers.

World frame: metres, z up, the ground is the plane z = 0, the main solid stands near the origin.
"""

from dataclasses import dataclass
from math import pi, radians

import torch
from torch import Tensor

from dds.data.scenes.shapes import SHAPES, dot, normalised

MIN_SOLIDS, MAX_SOLIDS = 2, 5
SLOTS = MAX_SOLIDS + 1  # the last slot of every scene holds the ground
GROUND, ABSENT = -1, -2  # values of Geometry.kind beside the indices into SHAPES
PATTERN_COUNT = 6

_GOLDEN = -0x61C8864680B583EB  # 2^64 / golden ratio, as a signed 64-bit number
_MIX_FACTORS = (-0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15)  # of splitmix64, signed
_MIX_SHIFTS = (30, 27, 31)
_MANTISSA = 24  # random bits of a float32 in [0, 1)

_MAIN_RADIUS, _OTHER_RADIUS = (0.40, 0.60), (0.22, 0.42)  # m, of the upright cylinder around a solid
_MAIN_HEIGHT, _OTHER_HEIGHT = (0.70, 1.20), (0.40, 1.00)  # m
_MAIN_OFFSET = (0.0, 0.10)  # m from the origin
_OTHER_OFFSET = (1.20, 2.00)  # m; leaves room for both radii
_SECTOR_JITTER = (-0.2, 0.2)  # parts of a sector; keeps neighbours apart

_GROUND_HUES = (0.0, 0.34)  # earth, sand, grass
_GROUND_SATURATION, _SATURATION = 0.45, 0.9  # upper bounds
_DARK, _BRIGHT = (0.20, 0.55), (0.60, 0.98)  # brightness of the two colours of a pattern
_GROUND_DIMMING = 0.8  # factor on the brightness: the ground faces the sky and would be overexposed
_FREQUENCY = (2.0, 6.0)  # cells per metre on solids
_GROUND_COARSENESS = 0.4  # factor on the frequency
_PHASES = 16.0  # cells; after as many the noise repeats
_GLOSS = 0.8  # upper bound

_CAMERA_ELEVATION = (radians(4), radians(25))
_CAMERA_DISTANCE = (4.0, 7.0)  # m, from the target
_ASIDE = (-0.25, 0.25)  # m, of the target from the origin along x and y
_TARGET_HEIGHT = (0.35, 0.75)  # m
_FRAMING = (0.9, 1.4)  # m that half of the shorter image side spans at the target

_SUN_ELEVATION = (radians(18), radians(62))
_SUNLIGHT = (1.6, 2.8)  # linear
_SKY_HUE, _SKY_SATURATION, _SKY_VALUE = (0.54, 0.63), (0.30, 0.75), (0.50, 0.95)
_HAZE = (20.0, 100.0)  # m


@dataclass(frozen=True)
class Geometry:
    """Surfaces of a batch of scenes, flattened to N = B * SLOTS.

    Attributes:
        kind: ``(N,)`` index into SHAPES, GROUND or ABSENT.
        centre: ``(3, N)`` metres.
        scale: ``(3, N)`` metres per canonical unit.
        turn: ``(2, N)`` cosine and sine of the rotation about the vertical.
        radius: ``(N,)`` metres, bounding sphere about the centre.
    """

    kind: Tensor
    centre: Tensor
    scale: Tensor
    turn: Tensor
    radius: Tensor


@dataclass(frozen=True)
class Material:
    """Look of the N = B * SLOTS surfaces.

    Attributes:
        pattern: ``(N,)`` 0..PATTERN_COUNT - 1.
        colours: ``(2, 3, N)`` linear reflectance of the two colours that the pattern mixes.
        axis: ``(3, N)`` unit direction of stripes and gradients in the surface's frame.
        frequency: ``(N,)`` pattern cells per metre.
        phase: ``(3, N)`` shift in pattern cells.
        gloss: ``(N,)`` strength of the highlight.
    """

    pattern: Tensor
    colours: Tensor
    axis: Tensor
    frequency: Tensor
    phase: Tensor
    gloss: Tensor


@dataclass(frozen=True)
class Camera:
    """Pinhole cameras.

    Attributes:
        origin: ``(3, B)`` metres.
        right: ``(3, B)`` unit vector along increasing columns.
        down: ``(3, B)`` unit vector along increasing rows.
        forward: ``(3, B)`` unit optical axis.
        focal: ``(B,)`` focal length over half of the shorter image side.
    """

    origin: Tensor
    right: Tensor
    down: Tensor
    forward: Tensor
    focal: Tensor


@dataclass(frozen=True)
class Light:
    """Sun, sky and air of each image.

    Attributes:
        sun: ``(3, B)`` unit direction towards the sun.
        sunlight: ``(3, B)`` linear colour of the sun.
        skylight: ``(3, B)`` linear colour of the ambient light.
        zenith: ``(3, B)`` linear colour of the upper sky.
        horizon: ``(3, B)`` linear colour of the sky at the horizon and of the haze.
        clouds: ``(B,)`` cloudiness 0..1.
        cloud_phase: ``(B,)`` shift in noise cells, so that every image has clouds of its own.
        haze: ``(B,)`` metres at which half of the colour is haze.
    """

    sun: Tensor
    sunlight: Tensor
    skylight: Tensor
    zenith: Tensor
    horizon: Tensor
    clouds: Tensor
    cloud_phase: Tensor
    haze: Tensor


def _mixed(bits: Tensor) -> Tensor:
    """Finaliser of splitmix64 on int64, whose products wrap around like those of unsigned numbers."""
    for shift, factor in zip(_MIX_SHIFTS, (*_MIX_FACTORS, 1), strict=True):
        logical = (bits >> shift) & ((1 << (64 - shift)) - 1)
        bits = (bits ^ logical) * factor
    return bits


def combined(key: Tensor, value: Tensor | int) -> Tensor:
    """Derive the int64 key of a sub-stream from a key and an integer."""
    return _mixed(_mixed(key) + (torch.as_tensor(value) + 1) * _GOLDEN)


def uniforms(key: Tensor, count: int) -> Tensor:
    """Return ``(count, *key.shape)`` numbers in [0, 1) that depend on their key alone."""
    counter = torch.arange(count).view(-1, *[1] * key.dim())
    bits = combined(key, counter) >> (64 - _MANTISSA)
    return (bits & ((1 << _MANTISSA) - 1)).float() / (1 << _MANTISSA)


def _within(uniform: Tensor, bounds: tuple[float, float]) -> Tensor:
    return bounds[0] + uniform * (bounds[1] - bounds[0])


def _unit_circle(turns: Tensor) -> Tensor:
    """Cosine and sine ``(2, ...)`` of an angle in turns.

    Computed in double precision: whichever kernel computes them, they round to the same float32.
    """
    angle = turns.double() * (2 * pi)
    return torch.stack([angle.cos(), angle.sin()]).float()


def _direction(azimuth: Tensor, elevation: Tensor) -> Tensor:
    """Unit vectors ``(3, ...)`` from an azimuth in turns and an elevation in radians."""
    (cos_azimuth, sin_azimuth), (level, rise) = _unit_circle(azimuth), _unit_circle(elevation / (2 * pi))
    return torch.stack([level * cos_azimuth, level * sin_azimuth, rise])


def draw_geometry(key: Tensor) -> Geometry:
    """Draw the solids of each scene from its key ``(B,)``; they stand on the ground without touching."""
    slot = torch.arange(SLOTS)
    kind, width, height, place, offset, turn = uniforms(combined(key[:, None], slot), 6)  # (B, SLOTS) each
    count, start = uniforms(combined(key, SLOTS), 2)[..., None]  # (B, 1) each
    count = MIN_SOLIDS + (count * (MAX_SOLIDS - MIN_SOLIDS + 1)).long()
    kind = (kind * len(SHAPES)).long()
    scale, radius = _sizes(kind, slot == 0, width, height)
    sector = (slot - 1 + _within(place, _SECTOR_JITTER)) / (count - 1) + start
    distance = torch.where(slot == 0, _within(offset, _MAIN_OFFSET), _within(offset, _OTHER_OFFSET))
    centre = torch.cat([distance * _unit_circle(sector), scale[2:]])  # (3, B, SLOTS); resting on the ground
    return _with_ground(torch.where(slot < count, kind, ABSENT), centre, scale, _unit_circle(turn), radius)


def _sizes(kind: Tensor, main: Tensor, width: Tensor, height: Tensor) -> tuple[Tensor, Tensor]:
    """Scale ``(3, B, SLOTS)`` and bounding radius ``(B, SLOTS)``, in metres."""
    shapes = SHAPES.values()
    corner = torch.tensor([shape.corner for shape in shapes])[kind]
    uniform = torch.tensor([shape.uniform for shape in shapes])[kind]
    reach = torch.where(main, _within(width, _MAIN_RADIUS), _within(width, _OTHER_RADIUS))
    half = torch.where(main, _within(height, _MAIN_HEIGHT), _within(height, _OTHER_HEIGHT)) / 2
    half = torch.where(uniform, reach, half)
    radius = torch.where(uniform, reach, (reach * reach + half * half).sqrt())
    return torch.stack([reach * corner, reach * corner, half]), radius


def _with_ground(kind: Tensor, centre: Tensor, scale: Tensor, turn: Tensor, radius: Tensor) -> Geometry:
    """Put the ground, in the world's own frame, into the last slot and flatten."""
    kind[:, -1] = GROUND
    centre[:, :, -1] = 0.0
    scale[:, :, -1] = 1.0
    turn[:, :, -1] = torch.tensor([[1.0], [0.0]])
    return Geometry(kind.flatten(), centre.flatten(1), scale.flatten(1), turn.flatten(1), radius.flatten())


def _rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Linear colours ``(3, ...)`` of hue, saturation and value in [0, 1], squared for a gamma of 2."""
    offset = torch.tensor([0.0, 2 / 3, 1 / 3]).view(3, *[1] * hue.dim())
    full = (((hue + offset) % 1.0 * 6 - 3).abs() - 1).clamp(0, 1)
    return (value * (1 - saturation * (1 - full))).square()


def draw_material(key: Tensor) -> Material:
    """Draw the look of every surface of each scene from its key ``(B,)``, independent of its shape."""
    slot = torch.arange(SLOTS)
    draws = uniforms(combined(key[:, None], slot), 16).flatten(1)  # (16, N)
    hue, saturation, value, axis, phase = draws[0:2], draws[2:4], draws[4:6], draws[6:9], draws[9:12]
    swap, pattern, frequency, gloss = draws[12:]  # (N,) each
    ground = (slot == MAX_SOLIDS).repeat(len(key))  # (N,)
    hue = torch.where(ground, _within(hue, _GROUND_HUES), hue)
    saturation = saturation * torch.where(ground, _GROUND_SATURATION, _SATURATION)
    value = torch.stack([_within(value[0], _DARK), _within(value[1], _BRIGHT)])
    value = torch.where(swap < 0.5, value, value.flip(0)) * torch.where(ground, _GROUND_DIMMING, 1.0)
    return Material(
        pattern=(pattern * PATTERN_COUNT).long(),
        colours=_rgb(hue, saturation, value).transpose(0, 1).contiguous(),
        axis=normalised(axis - 0.5),
        frequency=_within(frequency, _FREQUENCY) * torch.where(ground, _GROUND_COARSENESS, 1.0),
        phase=phase * _PHASES,
        gloss=torch.where(ground, 0.0, gloss.square() * _GLOSS),
    )


def draw_camera(key: Tensor) -> Camera:
    """Draw a camera ``(B,)`` on a ring about the origin, looking at the main solid."""
    azimuth, elevation, distance, aside_x, aside_y, rise, framing = uniforms(key, 7)  # (B,) each
    towards_camera = _direction(azimuth, _within(elevation, _CAMERA_ELEVATION))
    distance = _within(distance, _CAMERA_DISTANCE)
    target = torch.stack([_within(aside_x, _ASIDE), _within(aside_y, _ASIDE), _within(rise, _TARGET_HEIGHT)])
    forward = -towards_camera
    right = normalised(torch.stack([forward[1], -forward[0], torch.zeros_like(distance)]))
    return Camera(
        origin=target + distance * towards_camera,
        right=right,
        down=torch.linalg.cross(forward, right, dim=0),
        forward=forward,
        focal=distance / _within(framing, _FRAMING),
    )


def draw_light(key: Tensor) -> Light:
    """Draw sun, sky and air of each image from its key ``(B,)``."""
    azimuth, height, warmth, strength, clouds, phase, haze = uniforms(combined(key, 0), 7)  # (B,) each
    hue, saturation, value = uniforms(combined(key, 1), 3)  # (B,) each, of the clear sky
    warmth, clouds = warmth * (1 - 0.6 * height), clouds.square()  # a low sun is warmer; most days are clear
    tint = torch.stack([torch.ones_like(warmth), 1 - 0.35 * warmth, 1 - 0.7 * warmth])
    clear = _rgb(_within(hue, _SKY_HUE), _within(saturation, _SKY_SATURATION), _within(value, _SKY_VALUE))
    grey = 0.6 * dot(clear, clear).sqrt()
    zenith = clear + (grey - clear) * (0.7 * clouds)
    return Light(
        sun=_direction(azimuth, _within(height, _SUN_ELEVATION)),
        sunlight=tint * _within(strength, _SUNLIGHT) * (1 - 0.6 * clouds),  # clouds scatter it into skylight
        skylight=(0.12 + 0.4 * zenith) * (1 + 0.8 * clouds),
        zenith=zenith,
        horizon=0.45 * (tint + zenith),
        clouds=clouds,
        cloud_phase=phase * _PHASES,
        haze=_within(haze, _HAZE),
    )
