import pytest
import torch
from torchvision.ops import box_iou

from dds.tasks.packed_boxes import MOST, fuse, pack

LEFT, RIGHT = [0.0, 0, 10, 10], [30.0, 0, 40, 10]


def draws_of(*draws):
    """Pack lists of detections (box, score, class), one list a draw."""
    rows = [
        torch.tensor([[*box, score, label] for box, score, label in draw]).reshape(-1, 6) for draw in draws
    ]
    return torch.stack([pack(row) for row in rows])


def found_in(fused):
    return fused[fused[:, 4] > 0]


def test_the_best_come_first_and_equal_ones_in_their_order():
    scores = torch.tensor([0.5, 0.9, 0.5, 0.7])
    found = torch.cat([torch.arange(16.0).reshape(4, 4), scores[:, None], torch.ones(4, 1)], dim=1)
    packed = pack(found)
    assert torch.equal(packed[:4], found[[1, 3, 0, 2]])
    assert packed.shape == (MOST, 6)
    assert not packed[4:].any()
    many = torch.rand(130, 6)
    assert torch.equal(pack(many)[:, 4], many[:, 4].sort(descending=True).values[:MOST])
    assert not pack(torch.zeros(0, 6)).any()


def test_what_one_draw_lacks_loses_score():
    shifted = [box + 1 for box in LEFT]
    fused = found_in(fuse(draws_of([(LEFT, 0.9, 2), (RIGHT, 0.6, 1)], [(shifted, 0.6, 2)], [])))
    assert fused.shape == (2, 6)
    assert fused[0].tolist() == pytest.approx([0.5, 0.5, 10.5, 10.5, 0.5, 2])
    assert fused[1].tolist() == pytest.approx([*RIGHT, 0.2, 1])


def test_boxes_are_the_median_of_each_coordinate():
    boxes = [[0.0, 0, 20, 20], [1, 2, 21, 20], [4, 1, 19, 28]]
    fused = found_in(fuse(draws_of(*([(box, 0.9, 1)] for box in boxes))))
    assert fused.tolist() == [pytest.approx([1, 1, 20, 20, 0.9, 1])]


def test_classes_are_kept_apart():
    fused = found_in(fuse(draws_of([(LEFT, 0.9, 1)], [(LEFT, 0.8, 2)])))
    assert fused[:, 4:].tolist() == [pytest.approx([0.45, 1]), pytest.approx([0.4, 2])]


def test_a_draw_counts_once_for_an_object():
    """Two detections of one object in one draw: the better one counts."""
    again = [0.0, 0, 10, 9]
    fused = found_in(fuse(draws_of([(LEFT, 0.9, 1), (again, 0.8, 1)], [(again, 0.5, 1)])))
    assert fused.tolist() == [pytest.approx([0, 0, 10, 9.5, 0.7, 1])]


def test_boxes_without_area_and_draws_without_boxes():
    point = [5.0, 5, 5, 5]
    assert found_in(fuse(draws_of([(point, 0.9, 1)], [(point, 0.7, 1)])))[:, 4].tolist() == pytest.approx(
        [0.45, 0.35]
    )
    assert not fuse(draws_of([], [])).any()


def test_the_order_of_the_draws_does_not_matter():
    generator = torch.Generator().manual_seed(0)
    corner = torch.randint(0, 4, (4, 30, 2), generator=generator) * 10 + torch.rand(
        4, 30, 2, generator=generator
    )
    extent = 8 + 4 * torch.rand(4, 30, 2, generator=generator)
    score = (torch.randperm(120, generator=generator).reshape(4, 30, 1) + 1) / 121
    label = torch.randint(1, 3, (4, 30, 1), generator=generator)
    draws = torch.stack([pack(row) for row in torch.cat([corner, corner + extent, score, label], dim=2)])
    fused = fuse(draws)
    assert len(found_in(fused)) < 60  # most were seen in several draws
    for order in ([3, 2, 1, 0], [1, 3, 0, 2]):
        assert torch.allclose(fuse(draws[order]), fused, atol=1e-5)


def fuse_one_by_one(draws):
    """The definition: from the best detection on, take out what is of its class and overlaps it by half."""
    rows = [(row, draw) for draw, rows in enumerate(draws) for row in rows if row[4] > 0]
    left, fused = sorted(rows, key=lambda one: -one[0][4]), []
    while left:
        first = left[0][0]
        overlaps = [box_iou(first[None, :4], row[None, :4]) >= 0.5 and row[5] == first[5] for row, _ in left]
        like = [one for one, same in zip(left, overlaps, strict=True) if same or one is left[0]]
        left = [one for one in left if not any(one is other for other in like)]
        best = {draw: row for row, draw in reversed(like)}
        chosen = torch.stack([best[draw] for draw in sorted(best)])
        box, score = chosen[:, :4].quantile(0.5, dim=0), chosen[:, 4].sum() / len(draws)
        fused.append(torch.cat([box, score[None], first[5:]]))
    return pack(torch.stack(fused))


@pytest.mark.parametrize("draws", [1, 2, 3, 5])
def test_all_objects_at_once_are_fused_as_one_after_the_other(draws):
    generator = torch.Generator().manual_seed(draws)
    corner = torch.rand(40, 2, generator=generator) * 60 + torch.rand(draws, 40, 2, generator=generator) * 6
    extent = 15 + 10 * torch.rand(draws, 40, 2, generator=generator)
    label = torch.randint(1, 3, (draws, 40, 1), generator=generator).float()
    rest = torch.rand(draws, 40, 1, generator=generator), label
    found = torch.stack([pack(rows) for rows in torch.cat([corner, corner + extent, *rest], dim=2)])
    fused, expected = fuse(found), fuse_one_by_one(found)
    assert torch.allclose(fused, expected, atol=1e-6)
    assert draws > 4 or torch.equal(fused, expected)  # scores of more draws are added in another order
