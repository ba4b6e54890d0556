"""Ray intersections and surface normals of the six solids, each in its own canonical frame.

A canonical solid is centred on the origin with half height 1 and radius or half width 1. Its axis is z; only
the torus stands upright like a wheel, about the y axis. Vectors are stored component first, ``(3, P)``, so
that every component is contiguous. Only correctly rounded operations (+, -, *, /, sqrt, min, max) are used:
a ray's result is the same bit for bit wherever it sits in a batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, sqrt

import torch
from torch import Tensor

TORUS_TUBE = 0.30  # radius of the tube
TORUS_RING = 1.0 - TORUS_TUBE  # radius of the circle that the tube follows: the outer radius is 1
_TORUS_ROUNDS, _TORUS_STEPS = 12, 12  # after each round, rays that have hit or left are dropped
_TORUS_TOLERANCE = 1e-4  # canonical units, i.e. below a tenth of a millimetre
_CAP_TOLERANCE = 1e-3  # a point this near to the plane of a cap lies on the cap

_Plane = tuple[tuple[float, float, float], float]  # outward unit normal n and offset k: n . p <= k inside

_SLANT = (2.0 / sqrt(5.0), 1.0 / sqrt(5.0))  # horizontal and vertical part of a pyramid side's normal
_BASE: _Plane = ((0.0, 0.0, -1.0), 1.0)
_SIDES = ((1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0))
_BOX: tuple[_Plane, ...] = (_BASE, ((0.0, 0.0, 1.0), 1.0), *(((x, y, 0.0), 1.0) for x, y in _SIDES))
_PYRAMID: tuple[_Plane, ...] = (
    _BASE,
    *(((x * _SLANT[0], y * _SLANT[0], _SLANT[1]), _SLANT[1]) for x, y in _SIDES),
)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product over the leading component axis, ``(3, ...) -> (...)``, summed in a fixed order."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def take(table: Tensor, index: Tensor) -> Tensor:
    """Gather along the last axis, ``(..., N)`` at ``(P,)``; much faster than ``table[..., index]``."""
    return table.index_select(-1, index)


def normalised(vector: Tensor) -> Tensor:
    """Scale vectors ``(3, ...)`` to unit length."""
    return vector / dot(vector, vector).sqrt()


def _quadratic(a: Tensor, half_b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Roots of ``a t^2 + 2 half_b t + c`` in ascending order, NaN where there are none.

    The form avoids cancellation, which matters for cones, where ``a`` passes through zero.
    """
    root = (half_b * half_b - a * c).sqrt()
    q = -(half_b + torch.where(half_b < 0, -root, root))
    first, second = q / a, c / q
    return torch.minimum(first, second), torch.maximum(first, second)


def _slab(origin: Tensor, direction: Tensor, half: float) -> tuple[Tensor, Tensor]:
    """Interval of t in which the coordinate lies within ``[-half, half]``."""
    low, high = (-half - origin) / direction, (half - origin) / direction
    return torch.minimum(low, high), torch.maximum(low, high)


def _entry(enter: Tensor, leave: Tensor) -> Tensor:
    """Start of the interval if it is not empty and lies ahead, else infinity (also for NaN)."""
    return torch.where((enter < leave) & (enter > 0), enter, inf)


def _ball(origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Interval of t inside the unit ball."""
    return _quadratic(dot(direction, direction), dot(origin, direction), dot(origin, origin) - 1.0)


def _hit_sphere(origin: Tensor, direction: Tensor) -> Tensor:
    return _entry(*_ball(origin, direction))


def _hit_cylinder(origin: Tensor, direction: Tensor) -> Tensor:
    (ox, oy, oz), (dx, dy, dz) = origin, direction
    near, far = _quadratic(dx * dx + dy * dy, ox * dx + oy * dy, ox * ox + oy * oy - 1.0)
    bottom, top = _slab(oz, dz, 1.0)
    return _entry(torch.maximum(near, bottom), torch.minimum(far, top))


def _hit_cone(origin: Tensor, direction: Tensor) -> Tensor:
    """Nearest of both crossings of the mantle and the one of the base disc.

    The radius at height z is ``w = (1 - z) / 2``; it stands in for z as the third coordinate.
    """
    (ox, oy, oz), (dx, dy, dz) = origin, direction
    ow, dw = (1.0 - oz) / 2, dz / -2
    mantle = _quadratic(dx * dx + dy * dy - dw * dw, ox * dx + oy * dy - ow * dw, ox * ox + oy * oy - ow * ow)
    base = (1.0 - ow) / dw
    bx, by = ox + base * dx, oy + base * dy
    hit = torch.where((base > 0) & (bx * bx + by * by <= 1.0), base, inf)
    for t in mantle:
        w = ow + t * dw
        hit = torch.minimum(hit, torch.where((t > 0) & (w >= 0) & (w <= 1), t, inf))
    return hit


def _hit_torus(origin: Tensor, direction: Tensor) -> Tensor:
    """Sphere tracing through the part of the unit ball that the torus lies in; infinity for a miss."""
    (near, far), (front, back) = _ball(origin, direction), _slab(origin[1], direction[1], TORUS_TUBE)
    t, leave = torch.maximum(near, front).clamp_min(0), torch.minimum(far, back)
    hit = torch.full_like(t, inf)
    active = (t < leave).nonzero().squeeze(1)
    t = take(t, active)
    for _ in range(_TORUS_ROUNDS):
        t, distance = _approach_torus(take(origin, active), take(direction, active), t)
        met = distance < _TORUS_TOLERANCE
        hit.index_copy_(0, active[met], t[met])
        ahead = ~met & (t < take(leave, active))
        active, t = active[ahead], t[ahead]
    return hit


def _approach_torus(origin: Tensor, direction: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Advance by the distance to the torus, several times; also return the last of these distances."""
    speed = dot(direction, direction).sqrt()
    distance = torch.zeros_like(t)
    for _ in range(_TORUS_STEPS):
        distance = _torus_distance(origin + t * direction)
        t = t + distance / speed
    return t, distance


def _torus_distance(point: Tensor) -> Tensor:
    radial = (point[0] * point[0] + point[2] * point[2]).sqrt() - TORUS_RING
    return (radial * radial + point[1] * point[1]).sqrt() - TORUS_TUBE


def _outside(point: Tensor, plane: _Plane) -> Tensor:
    """Signed distance of points ``(3, P)`` from a plane, positive on the outer side."""
    (x, y, z), offset = plane
    return point[0] * x + point[1] * y + point[2] * z - offset


def _hit_polytope(planes: Sequence[_Plane]) -> Callable[[Tensor, Tensor], Tensor]:
    def hit(origin: Tensor, direction: Tensor) -> Tensor:
        enter = torch.full_like(origin[0], -inf)
        leave = torch.full_like(enter, inf)
        for normal, offset in planes:
            slope = _outside(direction, (normal, 0.0))
            t = -_outside(origin, (normal, offset)) / slope
            enter = torch.where(slope < 0, torch.maximum(enter, t), enter)
            leave = torch.where(slope < 0, leave, torch.minimum(leave, t))
        return _entry(enter, leave)

    return hit


def _normal_polytope(planes: Sequence[_Plane]) -> Callable[[Tensor], Tensor]:
    normals = torch.tensor([normal for normal, _ in planes]).T.contiguous()  # (3, F)

    def normal_at(point: Tensor) -> Tensor:
        distances = torch.stack([_outside(point, plane) for plane in planes])  # (F, P)
        return take(normals, distances.argmax(0))

    return normal_at


def _normal_sphere(point: Tensor) -> Tensor:
    return point


def _normal_cylinder(point: Tensor) -> Tensor:
    x, y, z = point
    on_cap = z.abs() > 1.0 - _CAP_TOLERANCE
    return torch.where(on_cap, torch.stack([x * 0, y * 0, z]), torch.stack([x, y, z * 0]))


def _normal_cone(point: Tensor) -> Tensor:
    x, y, z = point
    on_base = z < -1.0 + _CAP_TOLERANCE
    slope = (1.0 - z) / 4  # gradient of x^2 + y^2 - ((1 - z) / 2)^2, halved
    return torch.where(on_base, torch.tensor([[0.0], [0.0], [-1.0]]), torch.stack([x, y, slope]))


def _normal_torus(point: Tensor) -> Tensor:
    x, y, z = point
    shrink = 1.0 - TORUS_RING / (x * x + z * z).sqrt()
    return torch.stack([x * shrink, y, z * shrink])


@dataclass(frozen=True)
class Shape:
    """Geometry of one class of solid in its canonical frame.

    Attributes:
        hit: maps ray origins and directions ``(3, P)``, starting outside, to the smallest positive ray
            parameter ``(P,)`` on the surface, infinity for a miss.
        normal: maps surface points ``(3, P)`` to outward normals ``(3, P)``, not normalised.
        corner: half width of the solid that fits into an upright cylinder of radius 1.
        uniform: whether the shape allows one common scale only.
    """

    hit: Callable[[Tensor, Tensor], Tensor]
    normal: Callable[[Tensor], Tensor]
    corner: float = 1.0
    uniform: bool = False


SHAPES: dict[str, Shape] = {
    "sphere": Shape(_hit_sphere, _normal_sphere, uniform=True),
    "box": Shape(_hit_polytope(_BOX), _normal_polytope(_BOX), corner=sqrt(0.5)),
    "cylinder": Shape(_hit_cylinder, _normal_cylinder),
    "cone": Shape(_hit_cone, _normal_cone),
    "pyramid": Shape(_hit_polytope(_PYRAMID), _normal_polytope(_PYRAMID), corner=sqrt(0.5)),
    "torus": Shape(_hit_torus, _normal_torus, uniform=True),
}
