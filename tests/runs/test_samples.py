import random
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from dds.batch import Record
from dds.errors import InputError
from dds.runs.samples import (
    Samples,
    merge_rows,
    read_rows,
    records_to_table,
    to_arrays,
    write_by_condition,
    write_parquet,
)


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


def test_each_table_has_the_statistics_that_are_its_own(tmp_path):
    single, combined = record(("a",), 0, [1.0]), record(("a",), None, [2.0])
    combined.statistics["score_certified"] = combined.statistics.pop("counts")
    path = tmp_path / "rows.parquet"
    write_parquet(records_to_table([single, combined], torch.tensor([0])), path)
    samples, votes = merge_rows(read_rows([path]), ["a"])
    assert samples.column_names[3:] == ["counts", "l2", "linf", "psnr", "score", "ssim"]
    assert votes.column_names[2:] == ["l2", "linf", "psnr", "score", "score_certified", "ssim"]


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


# By condition


@pytest.fixture
def rows():
    """Three conditions of four images, two draws of the last two; one statistic belongs to the last alone."""
    records = [record(("a",), 0, [3.0, 1.0, 0.0, 2.0])]
    records += [record(("b", "c"), draw, [3.0, 1.0, 0.0, 2.0]) for draw in (1, 0)]
    table = records_to_table(records, torch.tensor([3, 1, 0, 2]))
    broken = [1.0 if key == "c" else None for key in table["condition"].to_pylist()]
    return table.append_column("broken", pa.array(broken, pa.float32()))


def of(rows, condition):
    return rows.filter(pa.compute.equal(rows["condition"], condition))


@pytest.fixture
def merged(rows, tmp_path):
    path = tmp_path / "samples.parquet"
    write_by_condition(((key, of(rows, key)) for key in "abc"), rows.schema, path)
    return path


def test_rows_of_one_condition_come_sorted_and_without_what_they_lack(merged):
    samples = Samples(merged)
    table = samples.of("b")
    assert table["condition"].to_pylist() == ["b"] * 8
    assert table["index"].to_pylist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert table["draw"].to_pylist() == [0, 1] * 4
    assert (to_arrays(table)["score"] == table["index"].to_numpy()).all()
    assert "broken" not in table.column_names
    assert samples.of("c", ["broken"]).column_names == ["index", "condition", "draw", "broken"]
    assert samples.conditions == ["a", "b", "c"]
    assert samples.images.tolist() == [0, 1, 2, 3]
    assert len(samples.of("d")) == 0


def test_only_the_row_groups_of_a_condition_and_the_columns_asked_for_are_read(merged, monkeypatch):
    read, asked = pq.ParquetFile.iter_batches, []

    def note(self, row_groups, columns):
        asked.append((row_groups, columns))
        return read(self, row_groups=row_groups, columns=columns)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", note)
    assert len(Samples(merged).of("c", ["score"])) == 8
    assert asked == [([2], ["index", "condition", "draw", "score"])]


def test_tables_of_the_older_layout_are_read_by_condition(merged, rows, tmp_path):
    """One row group held all conditions, or several held parts of them."""
    for size in (100, 7):
        pq.write_table(rows, tmp_path / "older.parquet", row_group_size=size)
        for key in "abc":
            assert Samples(tmp_path / "older.parquet").of(key).equals(Samples(merged).of(key))


def test_several_tables_are_read_as_one(merged, rows, tmp_path):
    paths = [tmp_path / "first", tmp_path / "second"]
    parts = [("a", of(rows, "a")), ("b", of(rows, "b").slice(0, 3))]
    write_by_condition(parts, rows.schema, paths[0])
    write_by_condition([("b", of(rows, "b").slice(3)), ("c", of(rows, "c"))], rows.schema, paths[1])
    joined = Samples(*paths)
    assert joined.conditions == ["a", "b", "c"]
    assert all(joined.of(key).equals(Samples(merged).of(key)) for key in "abc")


def test_a_damaged_table_is_never_read_without_a_word(merged):
    """A few bytes say nothing."""
    content = merged.read_bytes()
    expected = [Samples(merged).of(key) for key in "abc"]
    found = []
    for place in random.Random(0).sample(range(len(content)), 80):
        merged.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        with suppress(InputError):
            found.append([Samples(merged).of(key) for key in "abc"])
    assert len(found) < 40
    assert all(tables == expected for tables in found)


def test_what_holds_no_samples_is_refused(tmp_path):
    pq.write_table(pa.table({"index": [1]}), tmp_path / "other.parquet")
    for name in ("other.parquet", "not_there.parquet"):
        with pytest.raises(InputError, match=name):
            Samples(tmp_path / name)


def test_whole_numbers_take_no_more_room_than_they_need_however_a_run_is_divided(tmp_path):
    values = {"few": [-1, 90, 3], "many": [1, 2, 70_000], "most": [2**40, 0, 1]}
    tables = []
    for division in ([[0, 1, 2]], [[2], [0, 1]]):
        for part, index in enumerate(division):
            counts = {name: torch.tensor([[of[i], 0] for i in index]) for name, of in values.items()}
            rows = records_to_table([Record(("a",), 0, counts, {})], torch.tensor(index))
            write_parquet(rows, tmp_path / f"{len(division)}-{part}.parquet")
        tables.append(merge_rows(read_rows(sorted(tmp_path.glob(f"{len(division)}-*"))), ["a"])[0])
    assert tables[0].equals(tables[1])
    assert [tables[0].schema.field(name).type.value_type for name in values] == [
        pa.int8(),
        pa.int32(),
        pa.int64(),
    ]
    assert all(to_arrays(tables[0])[name][:, 0].tolist() == of for name, of in values.items())


def test_draws_of_a_batch_may_need_whole_numbers_of_other_sizes():
    counts = [torch.tensor([[1, 2]]), torch.tensor([[1, 1000]]), torch.tensor([[70000, 0]])]
    records = [Record(("clean/-/t10",), draw, {"right": count}, {}) for draw, count in enumerate(counts)]
    table = records_to_table(records, torch.tensor([7]))
    assert table["right"].to_pylist() == [[1, 2], [1, 1000], [70000, 0]]
