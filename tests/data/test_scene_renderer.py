"""Tests of the scene renderer: reproducibility, exactness of the ground truth, consistency."""

from collections.abc import Callable
from dataclasses import fields

import pytest
import torch
from torch import Tensor

from dds.data.scenes.layout import ABSENT, MAX_SOLIDS, SLOTS, Camera
from dds.data.scenes.renderer import FAR, MIN_VISIBLE, SEMANTIC, SOLIDS, Rendering, draw_scene, render
from dds.data.scenes.shapes import SHAPES, TORUS_RING, TORUS_TUBE, dot

COUNT = 96
ARRANGEMENTS = torch.arange(COUNT) // 2
VIEWS = torch.arange(COUNT) % 2
SIZE = (64, 64)

INSIDE: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "sphere": lambda x, y, z: x**2 + y**2 + z**2 < 1,
    "box": lambda x, y, z: (x.abs() < 1) & (y.abs() < 1) & (z.abs() < 1),
    "cylinder": lambda x, y, z: (x**2 + y**2 < 1) & (z.abs() < 1),
    "cone": lambda x, y, z: (x.hypot(y) < (1 - z) / 2) & (z > -1),
    "pyramid": lambda x, y, z: (torch.maximum(x.abs(), y.abs()) < (1 - z) / 2) & (z > -1),
    "torus": lambda x, y, z: (x.hypot(z) - TORUS_RING).hypot(y) < TORUS_TUBE,
}


@pytest.fixture(scope="module")
def rendering() -> Rendering:
    return render(ARRANGEMENTS, VIEWS, SIZE)


def pixel_directions(camera: Camera, size: tuple[int, int]) -> Tensor:
    """Directions (3, B, H, W) in float64 through the pixel centres, of length 1 along the optical axis."""
    height, width = size
    right, down, forward = (v.double()[..., None, None] for v in (camera.right, camera.down, camera.forward))
    x = (torch.arange(width).double() + 0.5) * 2 / width - 1  # -1..1 over the width
    y = (torch.arange(height).double() + 0.5)[:, None] * 2 / height - 1
    shorter, focal = min(size), camera.focal.double()[:, None, None]
    return forward + right * x * (width / shorter) / focal + down * y * (height / shorter) / focal


def rows(rendering: Rendering, index: Tensor | slice) -> list[Tensor]:
    return [getattr(rendering, field.name)[index] for field in fields(Rendering)]


def test_rendering_does_not_depend_on_the_batch(rendering: Rendering) -> None:
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(0))
    shuffled = render(ARRANGEMENTS[order], VIEWS[order], SIZE)
    for expected, actual in zip(rows(rendering, order), rows(shuffled, slice(None)), strict=True):
        assert torch.equal(expected, actual)


@pytest.mark.parametrize("index", [0, 17, COUNT - 1])
def test_single_image_equals_its_copy_in_a_batch(rendering: Rendering, index: int) -> None:
    single = render(ARRANGEMENTS[index, None], VIEWS[index, None], SIZE)
    batched = rows(rendering, slice(index, index + 1))
    for expected, actual in zip(batched, rows(single, slice(None)), strict=True):
        assert torch.equal(expected, actual)


def test_global_random_state_is_neither_used_nor_changed() -> None:
    before = torch.random.get_rng_state()
    first = render(ARRANGEMENTS[:2], VIEWS[:2])
    assert torch.equal(before, torch.random.get_rng_state())
    torch.rand(1)
    assert torch.equal(first.image, render(ARRANGEMENTS[:2], VIEWS[:2]).image)


@pytest.mark.parametrize(("arrangement", "view", "seed"), [(1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_arrangement_view_and_seed_change_the_image(arrangement: int, view: int, seed: int) -> None:
    zero = torch.zeros(1, dtype=torch.int64)
    other = render(zero + arrangement, zero + view, seed=seed).image
    assert (render(zero, zero).image != other).float().mean() > 0.5


def test_views_share_the_arrangement_but_not_camera_and_light() -> None:
    arrangement, view = torch.zeros(2, dtype=torch.int64), torch.arange(2)
    scene = draw_scene(arrangement, view, seed=0)
    for part in (scene.geometry, scene.material):
        for field in fields(part):
            first, second = getattr(part, field.name).unflatten(-1, (2, SLOTS)).unbind(-2)
            assert torch.equal(first, second)
    assert not torch.equal(scene.camera.origin[:, 0], scene.camera.origin[:, 1])
    assert not torch.equal(scene.light.sun[:, 0], scene.light.sun[:, 1])


def test_solids_stand_on_the_ground_apart_from_each_other() -> None:
    geometry = draw_scene(torch.arange(500), torch.zeros(500, dtype=torch.int64), seed=3).geometry
    kind = geometry.kind.view(-1, SLOTS)[:, :MAX_SOLIDS]
    centre, scale = (v.view(3, -1, SLOTS)[..., :MAX_SOLIDS] for v in (geometry.centre, geometry.scale))
    assert torch.equal(centre[2], scale[2])
    used = kind != ABSENT
    assert set(used.sum(1).tolist()) == {2, 3, 4, 5}
    corner = torch.tensor([shape.corner for shape in SHAPES.values()])[kind.clamp_min(0)]
    reach = scale[0] / corner  # radius of the upright cylinder around the solid
    gap = (centre[:2, :, :, None] - centre[:2, :, None]).norm(dim=0) - reach[:, :, None] - reach[:, None]
    pair = used[:, :, None] & used[:, None] & ~torch.eye(MAX_SOLIDS, dtype=torch.bool)
    assert gap[pair].min() > 0


def test_ground_depth_matches_the_plane(rendering: Rendering) -> None:
    camera = draw_scene(ARRANGEMENTS, VIEWS, seed=0).camera
    expected = -camera.origin[2].double()[:, None, None] / pixel_directions(camera, SIZE)[2]
    ground = rendering.mask == SEMANTIC.index("ground")
    torch.testing.assert_close(rendering.depth[ground].double(), expected[ground], rtol=1e-3, atol=1e-4)
    assert rendering.depth.max() <= FAR


def test_sphere_depth_matches_the_closed_form(rendering: Rendering) -> None:
    scene = draw_scene(ARRANGEMENTS, VIEWS, seed=0)
    direction = pixel_directions(scene.camera, SIZE)  # (3, B, H, W)
    image, y, x = (rendering.mask == SEMANTIC.index("sphere")).nonzero().unbind(1)
    solid = image * SLOTS + rendering.instance[image, y, x]
    ray = direction[:, image, y, x]  # (3, P)
    length = ray.norm(dim=0)
    offset = (scene.geometry.centre[:, solid] - scene.camera.origin[:, image]).double()
    along = dot(offset, ray) / length
    miss_squared = dot(offset, offset) - along**2  # from the centre to the ray
    half_chord = (scene.geometry.radius[solid].double() ** 2 - miss_squared).clamp_min(0).sqrt()
    expected = (along - half_chord) / length
    inner = half_chord > 0.05  # metres; at the rim the depth is ill-conditioned
    assert inner.sum() > 1000
    depth = rendering.depth[image, y, x].double()
    torch.testing.assert_close(depth[inner], expected[inner], rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", SOLIDS)
def test_intersection_matches_marching_along_the_ray(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    origin = torch.randn(3, 2000, generator=generator)
    origin = 4 * origin / origin.norm(dim=0)
    direction = (torch.rand(3, 2000, generator=generator) * 2.4 - 1.2 - origin) / 4
    hit = SHAPES[name].hit(origin, direction)
    steps = torch.linspace(0, 8, 4001, dtype=torch.float64)  # up to 8 times the distance to the centre
    x, y, z = origin.double()[..., None] + steps * direction.double()[..., None]
    inside = INSIDE[name](x, y, z)  # (P, steps)
    first = torch.where(inside.any(1), steps[inside.int().argmax(1)], torch.inf)
    agree = (hit == first) | ((hit - first).abs() < 2 * steps[1])
    assert agree.float().mean() > 0.99  # marching misses grazing hits
    assert 0.2 < hit.isfinite().float().mean() < 1


@pytest.mark.parametrize("name", SOLIDS)
def test_normals_point_outwards(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    origin = torch.randn(3, 2000, generator=generator)
    origin = 4 * origin / origin.norm(dim=0)
    direction = torch.rand(3, 2000, generator=generator) - 0.5 - origin
    hit = SHAPES[name].hit(origin, direction)
    met = hit.isfinite()
    point = (origin + hit * direction)[:, met]
    normal = SHAPES[name].normal(point)
    normal = normal / normal.norm(dim=0)
    assert (dot(normal, direction[:, met]) < 1e-2).all()
    beneath = INSIDE[name](*(point - 0.02 * normal))
    above = INSIDE[name](*(point + 0.02 * normal))
    assert beneath.float().mean() > 0.97  # a step may cross an edge
    assert not above.any()


def test_shapes_and_dtypes(rendering: Rendering) -> None:
    expected = {
        "image": ((3, *SIZE), torch.uint8),
        "mask": (SIZE, torch.uint8),
        "depth": (SIZE, torch.float32),
        "instance": (SIZE, torch.int8),
        "label": ((), torch.int64),
        "boxes": ((MAX_SOLIDS, 4), torch.float32),
        "classes": ((MAX_SOLIDS,), torch.int64),
        "arrangement": ((), torch.int64),
    }
    actual = {field.name: getattr(rendering, field.name) for field in fields(Rendering)}
    assert {name: (tuple(v.shape[1:]), v.dtype) for name, v in actual.items()} == expected
    assert torch.equal(rendering.arrangement, ARRANGEMENTS)


def test_mask_depth_and_instance_agree(rendering: Rendering) -> None:
    assert torch.equal(rendering.mask == SEMANTIC.index("sky"), rendering.depth == 0)
    assert torch.equal(rendering.mask >= SEMANTIC.index(SOLIDS[0]), rendering.instance >= 0)
    kind = draw_scene(ARRANGEMENTS, VIEWS, seed=0).geometry.kind.view(COUNT, SLOTS)
    image, y, x = (rendering.instance >= 0).nonzero().unbind(1)
    name = kind[image, rendering.instance[image, y, x].long()]
    assert torch.equal(rendering.mask[image, y, x].long() - SEMANTIC.index(SOLIDS[0]), name)


def test_boxes_classes_and_label_follow_from_the_instances(rendering: Rendering) -> None:
    kind = draw_scene(ARRANGEMENTS, VIEWS, seed=0).geometry.kind.view(COUNT, SLOTS)
    for index in range(COUNT):
        counts = [int((rendering.instance[index] == slot).sum()) for slot in range(MAX_SOLIDS)]
        assert rendering.label[index] == kind[index, counts.index(max(counts))]
        for slot, count in enumerate(counts):
            expected = [0, 0, 0, 0]
            shown = count >= MIN_VISIBLE * SIZE[0] * SIZE[1]
            if shown:
                y, x = (rendering.instance[index] == slot).nonzero().unbind(1)
                expected = [int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1]
            assert rendering.boxes[index, slot].tolist() == expected
            assert rendering.classes[index, slot] == (kind[index, slot] if shown else -1)


def test_every_class_occurs_and_the_main_solid_is_well_visible(rendering: Rendering) -> None:
    assert set(rendering.label.tolist()) == set(range(len(SOLIDS)))
    assert set(rendering.mask.flatten().tolist()) == set(range(len(SEMANTIC)))
    counts = torch.stack([(rendering.instance == slot).sum((1, 2)) for slot in range(MAX_SOLIDS)])
    large = counts.amax(0) >= 0.04 * SIZE[0] * SIZE[1]
    assert large.float().mean() > 0.95


def test_images_have_contrast(rendering: Rendering) -> None:
    assert rendering.image.float().std((1, 2, 3)).min() > 10
    assert ((rendering.image == 0) | (rendering.image == 255)).float().mean() < 0.01


def test_other_sizes_show_the_same_scene() -> None:
    arrangement, view = torch.arange(4), torch.zeros(4, dtype=torch.int64)
    wide = render(arrangement, view, (48, 96))
    assert wide.image.shape == (4, 3, 48, 96)
    assert wide.depth.shape == wide.mask.shape == wide.instance.shape == (4, 48, 96)
    square = render(arrangement, view, (48, 48))
    assert torch.equal(wide.mask[:, :, 24:72], square.mask)  # the longer side only adds to the view
