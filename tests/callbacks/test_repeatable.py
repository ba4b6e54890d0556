import torch

from dds.callbacks.repeatable import repeatable

GPU = torch.device("cuda")
enabled = torch.are_deterministic_algorithms_enabled


def test_torch_is_repeatable_while_a_gpu_is_at_work_and_as_before_afterwards():
    with repeatable(GPU):
        assert enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert not enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory


def test_processors_are_left_alone():
    with repeatable(torch.device("cpu")):
        assert not enabled()


def test_who_wants_it_strictly_keeps_it():
    torch.use_deterministic_algorithms(True)
    try:
        with repeatable(GPU):
            assert not torch.is_deterministic_algorithms_warn_only_enabled()
        assert enabled()
    finally:
        torch.use_deterministic_algorithms(False)
