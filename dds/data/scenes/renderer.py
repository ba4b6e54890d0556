"""Ray caster for the embedded data set "Scenes": pictures of solids with exact ground truth.

A scene is a ground plane with 2..5 textured solids. Ground truth comes from one ray through the centre of
each pixel, colour from the mean of four rays per pixel.
"""

from dataclasses import dataclass, fields
from math import inf

import torch
from torch import Tensor

from dds.data.scenes.layout import (
    ABSENT,
    MAX_SOLIDS,
    SLOTS,
    Camera,
    Geometry,
    Light,
    Material,
    combined,
    draw_camera,
    draw_geometry,
    draw_light,
    draw_material,
)
from dds.data.scenes.shading import Hits, develop, shade, sky
from dds.data.scenes.shapes import SHAPES, dot, normalised, take

SOLIDS: tuple[str, ...] = tuple(SHAPES)
SEMANTIC: tuple[str, ...] = ("sky", "ground", *SOLIDS)
MIN_VISIBLE = 12 / 64**2  # part of the image's pixels that a solid must show to count as an object
FAR = 50.0  # m; the ground beyond is no surface but part of the hazy horizon

_NO_CLASS = -1
_CHUNK = 16  # images rendered at once: keeps temporaries in the cache
_SHADOW_OFFSET = 2e-3  # m; lifts shadow rays off the surface that they start on
_CENTRE = ((0.5, 0.5),)  # (x, y) within the pixel
_QUARTERS = ((0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75))


@dataclass(frozen=True)
class Rendering:
    """A batch of images with ground truth; S = MAX_SOLIDS slots.

    Attributes:
        image: ``(B, 3, H, W)`` uint8 sRGB-like colour.
        mask: ``(B, H, W)`` uint8 index into SEMANTIC.
        depth: ``(B, H, W)`` float32 metres along the optical axis, 0 where there is no surface (sky).
        instance: ``(B, H, W)`` int8 slot of the visible solid, -1 where there is none.
        label: ``(B,)`` int64 index into SOLIDS of the solid with most visible pixels.
        boxes: ``(B, S, 4)`` float32 x1, y1, x2, y2 of the visible part in pixel edges, so that x2 is the
            last column + 1; zeros where ``classes`` is -1.
        classes: ``(B, S)`` int64 index into SOLIDS, -1 for an unused or hardly visible slot.
        arrangement: ``(B,)`` int64 identity of the arrangement.
    """

    image: Tensor
    mask: Tensor
    depth: Tensor
    instance: Tensor
    label: Tensor
    boxes: Tensor
    classes: Tensor
    arrangement: Tensor


@dataclass(frozen=True)
class Scene:
    """What B images show."""

    geometry: Geometry
    material: Material
    camera: Camera
    light: Light


@dataclass(frozen=True)
class Rays:
    """Rays of a batch, ``(3, B, R)`` each; a constant origin or direction has R = 1."""

    origin: Tensor
    direction: Tensor

    def take(self, image: Tensor, ray: Tensor) -> tuple[Tensor, Tensor]:
        """Origins and directions ``(3, P)`` of single rays."""
        return _pick(self.origin, image, ray), _pick(self.direction, image, ray)


def _pick(table: Tensor, image: Tensor, ray: Tensor) -> Tensor:
    """Entries ``(..., P)`` of a table ``(..., B, R)``, which is constant over the rays if R = 1."""
    rays = table.shape[-1]
    return take(table.flatten(-2), image if rays == 1 else image * rays + ray)


def render(arrangement: Tensor, view: Tensor, size: tuple[int, int] = (64, 64), seed: int = 0) -> Rendering:
    """Render images with ground truth; an image does not depend on the others in the batch.

    Args:
        arrangement: ``(B,)`` int64, B > 0; with the seed it determines the solids, their textures and places.
        view: ``(B,)`` int64; with seed and arrangement it determines camera, light and sky.
        size: height and width in pixels.
        seed: of the whole data set.
    """
    chunks = [slice(start, start + _CHUNK) for start in range(0, len(arrangement), _CHUNK)]
    with torch.no_grad():
        parts = [_render_chunk(arrangement[chunk], view[chunk], size, seed) for chunk in chunks]
        return Rendering(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Rendering)))


def _render_chunk(arrangement: Tensor, view: Tensor, size: tuple[int, int], seed: int) -> Rendering:
    scene = draw_scene(arrangement, view, seed)
    depth, slot = _cast(scene.geometry, camera_rays(scene.camera, size, _CENTRE))  # (B, H * W) each
    kind = scene.geometry.kind.view(-1, SLOTS)  # (B, SLOTS)
    surface = depth.isfinite()
    seen = torch.where(surface, kind.gather(1, slot), ABSENT).view(-1, *size)
    depth, slot, surface = depth.view(-1, *size), slot.view(-1, *size), surface.view(-1, *size)
    instance = torch.where(surface & (slot < MAX_SOLIDS), slot, -1)
    label, boxes, classes = _objects(instance, kind[:, :MAX_SOLIDS])
    return Rendering(
        image=_picture(scene, size),
        mask=(seen - ABSENT).to(torch.uint8),  # in the order of SEMANTIC: sky, ground, solids
        depth=torch.where(surface, depth, 0.0),
        instance=instance.to(torch.int8),
        label=label,
        boxes=boxes,
        classes=classes,
        arrangement=arrangement,
    )


def draw_scene(arrangement: Tensor, view: Tensor, seed: int) -> Scene:
    """Draw what the images ``(B,)`` show; see :func:`render`."""
    key = combined(combined(torch.zeros_like(arrangement), seed), arrangement)
    view_key = combined(combined(key, 2), view)
    return Scene(
        draw_geometry(combined(key, 0)),
        draw_material(combined(key, 1)),
        draw_camera(combined(view_key, 0)),
        draw_light(combined(view_key, 1)),
    )


def _pixel_angle(camera: Camera, size: tuple[int, int]) -> Tensor:
    """Angle of a pixel on the optical axis, ``(B,)`` radians (small-angle approximation)."""
    return 2.0 / (camera.focal * min(size))


def camera_rays(camera: Camera, size: tuple[int, int], offsets: tuple[tuple[float, float], ...]) -> Rays:
    """Rays through K points of every pixel, R = K * H * W.

    Directions have length 1 along the optical axis, so that ray parameters are depths.

    Args:
        camera: cameras of B images.
        size: height and width in pixels.
        offsets: K points (x, y) within the pixel, each in [0, 1].
    """
    height, width = size
    inner = torch.tensor(offsets)  # (K, 2)
    x = inner[:, 0, None, None] + torch.arange(width) - width / 2  # (K, 1, W)
    y = inner[:, 1, None, None] + torch.arange(height)[:, None] - height / 2  # (K, H, 1)
    grid = (len(offsets), height, width)
    across, along = x.expand(grid).flatten(), y.expand(grid).flatten()  # (R,)
    pixel = _pixel_angle(camera, size)
    right, down = (camera.right * pixel)[..., None], (camera.down * pixel)[..., None]  # (3, B, 1)
    direction = camera.forward[..., None] + right * across + down * along  # (3, B, R)
    return Rays(camera.origin[..., None], direction)


def _candidates(geometry: Geometry, rays: Rays, kind: int) -> tuple[Tensor, Tensor]:
    """Pairs of a solid of one class and a ray that meets its bounding sphere: indices ``(P,)`` of both."""
    solid = (geometry.kind == kind).nonzero().squeeze(1)  # (n,)
    image = solid // SLOTS
    direction = rays.direction[:, image]  # (3, n, R or 1)
    offset = take(geometry.centre, solid)[..., None] - rays.origin[:, image]  # (3, n, 1 or R)
    along = dot(offset, direction)  # (n, R)
    gap = dot(offset, offset) - geometry.radius[solid, None].square()
    met = (along * along >= dot(direction, direction) * gap) & ((along > 0) | (gap < 0))
    row, ray = met.nonzero().unbind(1)
    return take(solid, row), ray


def _to_frame(turn: Tensor, vector: Tensor) -> Tensor:
    """Rotate world vectors ``(3, P)`` into frames turned by ``(2, P)``."""
    cos, sin = turn
    return torch.stack([cos * vector[0] + sin * vector[1], cos * vector[1] - sin * vector[0], vector[2]])


def _intersections(geometry: Geometry, rays: Rays, kind: int) -> tuple[Tensor, Tensor, Tensor]:
    """Solids of one class, rays and ray parameters, ``(P,)`` each; infinity for a miss."""
    solid, ray = _candidates(geometry, rays, kind)
    origin, direction = rays.take(solid // SLOTS, ray)
    turn, scale = take(geometry.turn, solid), take(geometry.scale, solid)
    origin = _to_frame(turn, origin - take(geometry.centre, solid)) / scale
    direction = _to_frame(turn, direction) / scale
    return solid, ray, SHAPES[SOLIDS[kind]].hit(origin, direction)


def _cast(geometry: Geometry, rays: Rays) -> tuple[Tensor, Tensor]:
    """Depth ``(B, R)``, infinity for the sky, and visible slot ``(B, R)`` of camera rays."""
    down = rays.direction[2]  # (B, R)
    ground = -rays.origin[2] / down
    table = torch.full((geometry.kind.numel(), down.shape[1]), inf)  # (B * SLOTS, R)
    table[MAX_SOLIDS::SLOTS] = torch.where((down < 0) & (ground < FAR), ground, inf)
    for kind in range(len(SOLIDS)):
        solid, ray, t = _intersections(geometry, rays, kind)
        table.view(-1).index_copy_(0, solid * table.shape[1] + ray, t)
    depth, slot = table.view(-1, SLOTS, down.shape[1]).min(1)
    return depth, slot


def _sunlit(geometry: Geometry, rays: Rays) -> Tensor:
    """Whether rays towards the sun meet no solid, ``(B, R)``."""
    free = torch.ones(rays.origin.shape[1:], dtype=torch.bool)
    for kind in range(len(SOLIDS)):
        solid, ray, t = _intersections(geometry, rays, kind)
        blocked = t.isfinite()
        free[solid[blocked] // SLOTS, ray[blocked]] = False
    return free


def _normals(geometry: Geometry, surface: Tensor, local: Tensor) -> Tensor:
    """Unit normals ``(3, M)`` in the world frame at points ``(3, M)`` metres in the surfaces' frames."""
    kind, scale = take(geometry.kind, surface), take(geometry.scale, surface)
    normal = torch.tensor([[0.0], [0.0], [1.0]]).repeat(1, len(surface))  # of the ground
    for index, shape in enumerate(SHAPES.values()):
        chosen = (kind == index).nonzero().squeeze(1)
        size = take(scale, chosen)
        normal.index_copy_(1, chosen, shape.normal(take(local, chosen) / size) / size)
    backwards = take(geometry.turn, surface) * torch.tensor([[1.0], [-1.0]])
    return normalised(_to_frame(backwards, normal))


def _surface_points(scene: Scene, rays: Rays, depth: Tensor, slot: Tensor) -> Hits:
    """Gather the visible surface points of camera rays that do not end in the sky."""
    geometry = scene.geometry
    image, ray = depth.isfinite().nonzero().unbind(1)  # (M,)
    surface = image * SLOTS + _pick(slot, image, ray)
    distance = _pick(depth, image, ray)
    origin, direction = rays.take(image, ray)
    point = origin + distance * direction  # (3, M)
    local = _to_frame(take(geometry.turn, surface), point - take(geometry.centre, surface))
    normal = _normals(geometry, surface, local)
    start = torch.zeros_like(rays.direction)  # (3, B, R)
    start.flatten(1).index_copy_(1, image * depth.shape[1] + ray, point + _SHADOW_OFFSET * normal)
    sunlit = _pick(_sunlit(geometry, Rays(start, scene.light.sun[..., None])), image, ray)
    return Hits(image, surface, distance, normalised(direction), local, normal, point[2], sunlit)


def _picture(scene: Scene, size: tuple[int, int]) -> Tensor:
    """Colour images ``(B, 3, H, W)`` uint8."""
    rays = camera_rays(scene.camera, size, _QUARTERS)
    depth, slot = _cast(scene.geometry, rays)  # (B, R)
    hits = _surface_points(scene, rays, depth, slot)
    colour = torch.empty_like(rays.direction)  # (3, B, R)
    pixel = _pixel_angle(scene.camera, size)
    surface = depth.isfinite()
    colour[:, surface] = shade(scene.material, scene.light, hits, pixel[hits.image])
    image, ray = (~surface).nonzero().unbind(1)
    colour[:, image, ray] = sky(scene.light, image, normalised(rays.direction[:, image, ray]))
    first, second, third, fourth = colour.view(3, -1, len(_QUARTERS), *size).unbind(2)  # (3, B, H, W) each
    mean = ((first + second) + (third + fourth)) / len(_QUARTERS)
    return develop(mean, _corner_distance(size)).transpose(0, 1).contiguous()


def _corner_distance(size: tuple[int, int]) -> Tensor:
    """Squared distance ``(H, W)`` of pixels from the image centre, 1 in the corners."""
    y, x = ((torch.arange(n) + 0.5) * 2 / n - 1 for n in size)
    return (x.square() + y.square()[:, None]) / 2


def _objects(instance: Tensor, kind: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Label ``(B,)``, boxes ``(B, S, 4)`` and classes ``(B, S)`` from visible slots ``(B, H, W)``."""
    visible = instance[:, None] == torch.arange(MAX_SOLIDS)[:, None, None]  # (B, S, H, W)
    count = visible.sum((2, 3))  # (B, S)
    label = kind.gather(1, count.argmax(1, keepdim=True)).squeeze(1)
    shown = count >= MIN_VISIBLE * instance[0].numel()
    (x1, x2), (y1, y2) = _extent(visible.any(2)), _extent(visible.any(3))
    boxes = torch.where(shown[..., None], torch.stack([x1, y1, x2, y2], -1), 0).float()
    return label, boxes, torch.where(shown, kind, _NO_CLASS)


def _extent(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """First index and last index + 1 ``(B, S)`` along the last axis of a boolean ``(B, S, N)``."""
    first, after = occupied.int().argmax(-1), occupied.shape[-1] - occupied.flip(-1).int().argmax(-1)
    return first, after
