import torch

from dds.controls import CropAndResize
from dds.noise import Streams


def ramps(size, height, width):
    """Images whose red is the row and whose green is the column, in pixels / 100."""
    row, column = torch.arange(height)[:, None] / 100, torch.arange(width) / 100
    image = torch.zeros(size, 3, height, width)
    image[:, 0], image[:, 1] = row, column
    return image


def test_shows_a_part_of_the_right_size_anywhere():
    out = CropAndResize(5)(ramps(60, 20, 30), Streams(0, tuple(range(60)))) * 100
    top, left = out[:, 0].amin((1, 2)), out[:, 1].amin((1, 2))  # bilinear resizing keeps the outermost pixels
    assert torch.allclose(out[:, 0].amax((1, 2)) - top, torch.tensor(9.0), atol=1e-4)  # 10 of 20 rows
    assert torch.allclose(out[:, 1].amax((1, 2)) - left, torch.tensor(14.0), atol=1e-4)  # 15 of 30 columns
    assert set(top.round().int().tolist()) == set(range(11))
    assert {0, 15} < set(left.round().int().tolist()) <= set(range(16))


def test_resizes_bilinearly_between_pixel_centres():
    out = CropAndResize(5)(ramps(1, 20, 30), Streams(0, (0,)))[0] * 100
    row, column = out[0, :, 0], out[1, 0]
    assert torch.allclose(row - row[0], ((torch.arange(20) + 0.5) / 2 - 0.5).clamp(0, 9), atol=1e-4)
    assert torch.allclose(column - column[0], ((torch.arange(30) + 0.5) / 2 - 0.5).clamp(0, 14), atol=1e-4)
