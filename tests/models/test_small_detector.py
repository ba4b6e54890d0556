import torch

from dds.models import small_fcos


def tiny(**options):
    torch.manual_seed(0)
    return small_fcos(3, widths=[8, 8, 8, 8], channels=32, **options)


def test_every_level_has_the_stride_that_its_stage_promises():
    network = tiny(stages=(1, 2, 3)).eval()
    with torch.no_grad():
        maps = network.backbone(torch.rand(2, 3, 64, 96))
    assert [tuple(level.shape) for level in maps.values()] == [
        (2, 32, 64 // stride, 96 // stride) for stride in (4, 8, 16)
    ]


def test_it_learns_where_things_are():
    """A bright square on a dark ground, found after a few steps."""
    network, corners = tiny(), torch.randint(4, 40, (4, 2), generator=torch.Generator().manual_seed(0))
    images, boxes = torch.zeros(4, 3, 64, 64), torch.cat([corners, corners + 16], dim=1).float()
    for image, (x, y) in zip(images, corners.tolist(), strict=True):
        image[:, y : y + 16, x : x + 16] = 1
    targets = [{"boxes": box[None], "labels": torch.tensor([2])} for box in boxes]
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        sum(network(list(images), targets).values()).backward()
        optimizer.step()
    with torch.no_grad():
        found = network.eval()(list(images))
    best = torch.stack([one["boxes"][0] for one in found])
    assert [one["labels"][0].item() for one in found] == [2] * 4
    assert (best - boxes).abs().mean() < 2


def test_small_images_are_enlarged_and_boxes_come_in_the_images_pixels():
    network = tiny(size=64).eval()
    network.score_thresh = 0
    with torch.no_grad():
        (found,) = network([torch.rand(3, 32, 48)])
    assert len(found["boxes"]) > 0
    assert (found["boxes"] <= torch.tensor([48, 32, 48, 32])).all()
