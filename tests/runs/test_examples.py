import os
import signal
from zipfile import ZipFile

import numpy as np
import pytest

from dds.runs.examples import join_examples, names_of, read_examples, write_examples
from dds.runs.stopping import stoppable


@pytest.fixture
def parts(tmp_path):
    random = np.random.default_rng(0)
    parts = {
        name: random.integers(0, 255, (2, 8, 8, 3), np.uint8) for name in ("original", "shown:pgd/none/t0")
    }
    write_examples(parts, tmp_path / "first.npz")
    write_examples(
        {"original": parts["original"] + 1, "decision:ä": np.array(["cat"])}, tmp_path / "second.npz"
    )
    return [tmp_path / "first.npz", tmp_path / "second.npz"]


def test_joined_files_hold_the_same_arrays_and_the_last_of_equal_names(parts, tmp_path):
    join_examples(parts, tmp_path / "joined.npz")
    expected, found = read_examples(parts), read_examples([tmp_path / "joined.npz"])
    assert set(found) == names_of(tmp_path / "joined.npz") == {"original", "shown:pgd/none/t0", "decision:ä"}
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    join_examples(parts, parts[0])
    assert parts[0].read_bytes() == (tmp_path / "joined.npz").read_bytes()


def test_nothing_is_compressed_again(parts, tmp_path, monkeypatch):
    monkeypatch.setattr("zlib.compressobj", None)
    join_examples(parts, tmp_path / "joined.npz")
    assert len(names_of(tmp_path / "joined.npz")) == 3


def test_a_broken_byte_counts_for_nothing(parts):
    content = parts[0].read_bytes()
    for place in range(0, len(content), 7):
        parts[0].write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        expected = read_examples(parts[:1])
        assert names_of(parts[0]) in (set(), set(expected))
    parts[0].unlink()
    assert names_of(parts[0]) == set()


@pytest.mark.parametrize(("where", "name"), [(np.lib.format, "write_array"), (ZipFile, "_write_end_record")])
def test_a_signal_waits_until_the_archive_is_whole(tmp_path, monkeypatch, capsys, where, name):
    """Cut within, the archive would raise an error of its own, and nobody would hear of the signal."""
    work = getattr(where, name)

    def interrupted(*args, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        return work(*args, **options)

    monkeypatch.setattr(where, name, interrupted)
    with pytest.raises(SystemExit) as ended, stoppable():
        write_examples({"original": np.ones((2, 8, 8, 3), np.uint8)}, tmp_path / "whole.npz")
    assert ended.value.code == 128 + signal.SIGTERM
    assert "Stopped by SIGTERM" in capsys.readouterr().err
    assert read_examples([tmp_path / "whole.npz"])["original"].all()
    assert [path.name for path in tmp_path.iterdir()] == ["whole.npz"]
