import torch

from dds.batch import Record
from dds.runs.samples import merge_rows, read_rows, records_to_table, to_arrays, write_parquet


def record(conditions, draw, value):
    extra = {name: torch.zeros(len(value)) for name in ("linf", "l2", "psnr", "ssim")}
    statistics = {"score": torch.tensor(value), "counts": torch.arange(len(value) * 2).reshape(-1, 2)}
    return Record(conditions, draw, statistics | extra, {})


def test_parts_of_several_processes_become_one_sorted_table(tmp_path):
    for rank, index in enumerate([[3, 1], [0, 2]]):
        rows = [record(("b", "c"), draw, [float(i) for i in index]) for draw in (1, 0)]
        rows += [record(("a",), 0, [0.0, 0.0]), record(("b",), None, [5.0, 5.0])]
        write_parquet(records_to_table(rows, torch.tensor(index)), tmp_path / f"{rank}.parquet")
    samples, votes = merge_rows(read_rows(sorted(tmp_path.glob("*.parquet"))), ["a", "b", "c"])
    frame = samples.to_pandas()
    assert list(frame.condition) == ["a"] * 4 + ["b"] * 8 + ["c"] * 8
    assert list(frame[frame.condition == "b"]["index"]) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert list(frame[frame.condition == "c"].draw) == [0, 1] * 4
    assert (frame[frame.condition == "b"].score == frame[frame.condition == "b"]["index"]).all()
    assert list(votes.to_pandas()["index"]) == [0, 1, 2, 3]
    assert (votes.to_pandas().score == 5).all()
    assert to_arrays(samples)["counts"].shape == (20, 2)


def test_the_order_of_the_parts_shows_nowhere(tmp_path):
    """One part has a statistic that the other lacks."""
    clean, attacked = record(("a",), 0, [1.0]), record(("b",), 0, [2.0])
    attacked.statistics["broken"] = torch.zeros(1)
    for name, one in (("clean", clean), ("attacked", attacked)):
        write_parquet(records_to_table([one], torch.tensor([0])), tmp_path / name)
    paths = [tmp_path / "clean", tmp_path / "attacked"]
    tables = [merge_rows(read_rows(order), ["a", "b"])[0] for order in (paths, paths[::-1])]
    assert tables[0].equals(tables[1])
    assert tables[0].column_names[3:] == ["broken", "counts", "l2", "linf", "psnr", "score", "ssim"]


def test_no_partial_file_is_left(tmp_path):
    write_parquet(records_to_table([record(("a",), 0, [1.0])], torch.tensor([0])), tmp_path / "x.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["x.parquet"]
