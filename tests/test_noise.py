import pytest
import torch

from dds.noise import Streams


def test_an_image_gets_the_same_numbers_in_any_batch():
    like = torch.empty(3, 2, 4)
    together = Streams(0, (5, 6, 7)).child("a").normal(like)
    alone = Streams(0, (6,)).child("a").normal(like[:1])
    assert torch.equal(together[1], alone[0])


@pytest.mark.parametrize(
    "other",
    [
        Streams(1, (0,), ("a", 1)),
        Streams(0, (1,), ("a", 1)),
        Streams(0, (0,), ("a", 2)),
        Streams(0, (0,), ("b", 1)),
    ],
)
def test_seed_index_and_purpose_all_matter(other):
    like = torch.empty(1, 64)
    assert not torch.equal(Streams(0, (0,)).child("a", 1).normal(like), other.normal(like))


def test_streams_are_independent_and_standard_normal():
    like = torch.empty(64, 1000)
    noise = Streams(0, tuple(range(64))).child("a").normal(like)
    other = Streams(0, tuple(range(64))).child("b").normal(like)
    assert noise.mean().abs() < 0.02
    assert (noise.std() - 1).abs() < 0.02
    assert (noise * other).mean().abs() < 0.02
    assert (noise[:-1] * noise[1:]).mean().abs() < 0.02


def test_uniform_fills_the_unit_interval():
    draws = Streams(0, (0,)).uniform(torch.empty(1, 10_000))
    assert draws.min() >= 0
    assert draws.max() < 1
    assert (draws.mean() - 0.5).abs() < 0.02


def test_the_numbers_are_those_of_all_runs_so_far():
    streams = Streams(0, (3,)).child("defence", 1)
    few = torch.tensor([[-1.2463886737823486, 1.2309973239898682, 0.8449740409851074]])
    many = torch.tensor([0.3074592351913452, 0.1740906983613968, 0.6132762432098389])  # 16 or more at a time
    uniform = torch.tensor([[0.046998560428619385, 0.017034173011779785, 0.22305238246917725]])
    assert torch.equal(streams.normal(torch.empty(1, 3)), few)
    assert torch.equal(streams.normal(torch.empty(1, 3, 8, 8)).flatten()[:3], many)
    assert torch.equal(streams.uniform(torch.empty(1, 3)), uniform)


def test_global_random_state_is_left_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    Streams(0, (0,)).normal(torch.empty(1, 8))
    assert torch.equal(before, torch.get_rng_state())


def test_batch_of_another_size_is_refused():
    with pytest.raises(ValueError, match="2 random streams for a batch of 3"):
        Streams(0, (0, 1)).normal(torch.empty(3, 4))
