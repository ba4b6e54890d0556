import pytest
import torch
import torch.distributed as dist
from conftest import run_processes

from dds.tasks.distributed import gather, gather_rows


def processes(work, folder, count=2):
    """Run `work(rank)` in processes that form a group, and return what each returned."""
    assert run_processes(count, _in_group, work, folder, count) == [0] * count
    return [torch.load(folder / f"{rank}.pt") for rank in range(count)]


def _in_group(rank, work, folder, count):
    dist.init_process_group("gloo", rank=rank, world_size=count)
    torch.save(work(rank), folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_one_process_has_it_all():
    items = [1, 2]
    assert gather(items) == items


@pytest.mark.parametrize("lengths", [(1, 3), (2, 0)])
def test_items_of_all_processes_in_the_order_of_their_ranks(tmp_path, lengths):
    def work(rank):
        return gather([{"rank": rank, "values": torch.full((n,), float(rank))} for n in range(lengths[rank])])

    first, second = processes(work, tmp_path)
    expected = [(rank, [float(rank)] * n) for rank in (0, 1) for n in range(lengths[rank])]
    for gathered in (first, second):
        assert [(item["rank"], item["values"].tolist()) for item in gathered] == expected


@pytest.mark.parametrize("lengths", [(2, 3), (5, 0), (0, 5)])
def test_rows_of_all_processes_in_the_order_of_their_indices(tmp_path, lengths):
    table = torch.rand(5, 3)
    order = torch.tensor([3, 0, 4, 2, 1])

    def work(rank):
        own = order.split(list(lengths))[rank]
        return gather_rows(list(own.split(2)), [table[part] for part in own.split(2)], torch.device("cpu"))

    for gathered in processes(work, tmp_path):
        assert torch.equal(gathered, table)
