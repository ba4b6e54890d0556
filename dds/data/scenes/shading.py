"""Colour of rays: procedural textures, sun and sky light, haze and the camera's tone curve.

Like the intersections, this uses correctly rounded operations only, so that an image is the same bit for
bit in every batch: highlights are repeated squares, waves are triangles and the gamma is a square root.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dds.data.scenes.layout import Light, Material, uniforms
from dds.data.scenes.shapes import dot, normalised, take

_LATTICE_BITS = 4  # the noise repeats after 2^4 cells
_LATTICE = uniforms(torch.tensor(0), 1 << 3 * _LATTICE_BITS)
_CLOUD_SCALE = 1.2  # noise cells per unit of slope
_CLOUD_PLANE = 0.15  # bends the cloud layer down, so that it stays resolvable towards the horizon
_GRAZING = 0.12  # smallest cosine of incidence in the footprint of a pixel
_GRAIN, _GRAIN_CELLS = 0.35, 9.0  # strength, and cells per metre, of the roughness of all surfaces
_SHADE_HEIGHT = 0.3  # m above the ground over which ambient light reaches full strength
_WHITE = 4.0  # linear colour that is mapped to white
_VIGNETTE = 0.22  # loss of light in the corners
_CONTRAST = 0.6  # of the tone curve, 0..1
_BYTE = 255.0


@dataclass(frozen=True)
class Hits:
    """Visible surface points of M rays.

    Attributes:
        image: ``(M,)`` index of the image.
        surface: ``(M,)`` index of the surface among all scenes.
        depth: ``(M,)`` metres along the optical axis.
        view: ``(3, M)`` unit direction from the camera.
        local: ``(3, M)`` metres in the surface's frame.
        normal: ``(3, M)`` unit outward normal, world frame.
        height: ``(M,)`` metres above the ground.
        sunlit: ``(M,)`` whether no solid stands between the point and the sun.
    """

    image: Tensor
    surface: Tensor
    depth: Tensor
    view: Tensor
    local: Tensor
    normal: Tensor
    height: Tensor
    sunlit: Tensor


def _blend(first: Tensor, second: Tensor, weight: Tensor | float) -> Tensor:
    return first + (second - first) * weight


def _smooth(x: Tensor) -> Tensor:
    """Smooth step from 0 to 1 over [0, 1]."""
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)


def _wave(x: Tensor) -> Tensor:
    """Triangle wave of period 2 with values in [0, 1]."""
    return (x % 2.0 - 1).abs()


def value_noise(point: Tensor) -> Tensor:
    """Smooth noise in [0, 1] at points ``(3, P)``: trilinear blend of random values on a unit lattice."""
    floor = point.floor()
    x, y, z = _smooth(point - floor)
    size = 1 << _LATTICE_BITS
    cell = floor.long()
    (x0, y0, z0), (x1, y1, z1) = cell & (size - 1), (cell + 1) & (size - 1)
    rows = ((x * size + y) * size for x, y in ((x0, y0), (x0, y1), (x1, y0), (x1, y1)))
    edges = [_blend(take(_LATTICE, row + z0), take(_LATTICE, row + z1), z) for row in rows]
    return _blend(_blend(edges[0], edges[1], y), _blend(edges[2], edges[3], y), x)


def _plain(point: Tensor, axis: Tensor) -> Tensor:
    return torch.zeros_like(point[0])


def _checker(point: Tensor, axis: Tensor) -> Tensor:
    cell = point.floor()
    return (cell[0] + cell[1] + cell[2]) % 2.0


def _stripes(point: Tensor, axis: Tensor) -> Tensor:
    return _smooth(_wave(dot(point, axis) * 1.5) * 6 - 2.5)


def _gradient(point: Tensor, axis: Tensor) -> Tensor:
    return _smooth(_wave(dot(point, axis) * 0.3))


def _blotches(point: Tensor, axis: Tensor) -> Tensor:
    return _smooth((0.65 * value_noise(point) + 0.35 * value_noise(point * 2.7)) * 3 - 1)


def _marble(point: Tensor, axis: Tensor) -> Tensor:
    bend = value_noise(point) + 0.5 * value_noise(point * 2.3)
    return _smooth(_wave(dot(point, axis) + 2.5 * bend) * 1.4 - 0.2)


# Each maps pattern coordinates (3, P) and an axis (3, P) to the share of the second colour (P,); there are
# PATTERN_COUNT of them.
_PATTERNS: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    _plain,
    _checker,
    _stripes,
    _gradient,
    _blotches,
    _marble,
)


def _reflectance(material: Material, hits: Hits, pixel: Tensor) -> Tensor:
    """Texture colour ``(3, M)``; it fades to the mean where a pixel (``(M,)`` radians) spans a cell."""
    frequency = take(material.frequency, hits.surface)
    point = hits.local * frequency + take(material.phase, hits.surface)
    kind, axis = take(material.pattern, hits.surface), take(material.axis, hits.surface)
    share = torch.empty_like(frequency)
    for index, pattern in enumerate(_PATTERNS):
        chosen = (kind == index).nonzero().squeeze(1)
        share.index_copy_(0, chosen, pattern(take(point, chosen), take(axis, chosen)))
    incidence = dot(hits.view, hits.normal).abs().clamp_min(_GRAZING)
    footprint = hits.depth * pixel / incidence * frequency
    share = 0.5 + (share - 0.5) * (1.6 - footprint).clamp(0, 1)
    grain = 1 + _GRAIN * (value_noise(hits.local * _GRAIN_CELLS) - 0.5)
    first, second = take(material.colours, hits.surface)  # (3, M) each
    return _blend(first, second, share) * grain


def shade(material: Material, light: Light, hits: Hits, pixel: Tensor) -> Tensor:
    """Linear colour ``(3, M)`` of surface points, seen through the haze.

    Args:
        material: looks of all surfaces.
        light: light of all images.
        hits: the surface points.
        pixel: ``(M,)`` angle of a pixel in radians.
    """
    sun, sunlight = take(light.sun, hits.image), take(light.sunlight, hits.image)  # (3, M)
    direct = torch.where(hits.sunlit, dot(hits.normal, sun).clamp_min(0), 0.0)
    shine = dot(normalised(sun - hits.view), hits.normal).clamp_min(0)
    for _ in range(5):  # to the power of 32
        shine = shine * shine
    shine = torch.where(direct > 0, shine * take(material.gloss, hits.surface), 0.0)
    open_sky = (0.6 + 0.4 * hits.normal[2]) * (0.6 + 0.4 * (hits.height / _SHADE_HEIGHT).clamp(0, 1))
    open_sky = torch.where(hits.normal[2] == 1, 1.0, open_sky)
    lit = sunlight * direct + take(light.skylight, hits.image) * open_sky
    colour = _reflectance(material, hits, pixel) * lit + sunlight * shine
    distance = (hits.depth / take(light.haze, hits.image)).square()
    return _blend(colour, take(light.horizon, hits.image), distance / (1 + distance))


def sky(light: Light, image: Tensor, view: Tensor) -> Tensor:
    """Linear colour ``(3, M)`` of the sky in unit directions ``(3, M)``: gradient, clouds and a glow."""
    rise = view[2].clamp_min(0)
    colour = _blend(take(light.horizon, image), take(light.zenith, image), (rise * 8 / (1 + rise * 7)))
    slope = view[:2] / (rise + _CLOUD_PLANE) * _CLOUD_SCALE
    layer = torch.stack([slope[0], slope[1], take(light.cloud_phase, image)])
    noise = 0.6 * value_noise(layer) + 0.4 * value_noise(layer * 2.2)
    cover = _smooth((noise - 0.75 + 0.6 * take(light.clouds, image)) * 3)
    colour = _blend(colour, take(light.sunlight, image) * 0.45 + 0.15, cover * 0.8)
    glow = dot(view, take(light.sun, image)).clamp_min(0).square().square().square()
    return colour + take(light.sunlight, image) * glow * 0.25


def develop(colour: Tensor, corner: Tensor) -> Tensor:
    """Expose linear colours ``(3, B, ...)`` to uint8.

    Args:
        colour: linear colours.
        corner: squared distance from the image centre, 1 in the corners; broadcasts to the colours.
    """
    exposed = colour * (1 - _VIGNETTE * corner)
    toned = exposed * (1 + exposed / (_WHITE * _WHITE)) / (1 + exposed) * 1.25
    display = toned.clamp(0, 1).sqrt()
    return (_blend(display, _smooth(display), _CONTRAST) * _BYTE).round().to(torch.uint8)
