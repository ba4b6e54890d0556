import os
import pickle

import numpy as np
import pytest

from dds.data.plain_pickle import read_plain_pickle
from dds.errors import InputError

PLAIN = {"names": ["a", "ä"], "boxes": [(1.5, 2.0)], "flag": None, "members": {1, 2}, "bytes": b"x"}


def dumped(folder, value, protocol=None):
    path = folder / "file.pkl"
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_values_of_every_protocol(tmp_path, protocol):
    assert read_plain_pickle(dumped(tmp_path, PLAIN, protocol)) == PLAIN


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(3, dtype=">i4"),
        np.array(["abc", "d"]),
        np.array([], dtype=np.int64),
    ],
)
def test_arrays_of_numbers_and_text(tmp_path, array, protocol):
    path = dumped(tmp_path, [array, array], protocol)
    for ours, theirs in zip(read_plain_pickle(path), pickle.loads(path.read_bytes()), strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_single_numbers(tmp_path, protocol):
    read = read_plain_pickle(dumped(tmp_path, [np.int64(7), np.float32(0.5)], protocol))
    assert read == [7, 0.5]


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harm",)


@pytest.mark.parametrize("value", [Harmful(), [np.array([Harmful()], dtype=object)], {"a": {1: Harmful()}}])
def test_code_is_not_run(tmp_path, monkeypatch, value):
    monkeypatch.chdir(tmp_path)
    path = dumped(tmp_path, value)
    with pytest.raises(InputError, match=r"file\.pkl is not read as plain lists and numbers"):
        read_plain_pickle(path)
    assert not (tmp_path / "harm").exists()
    pickle.loads(path.read_bytes())
    assert (tmp_path / "harm").exists()  # it would have run


@pytest.mark.parametrize(
    "call",
    [
        b"cnumpy\nndarray\n((I1\nt(cnumpy\ndtype\n(S'O'\ntRS'12345678'\ntR.",  # an object of eight bytes
        b"cnumpy.core.numeric\n_frombuffer\n(S'12345678'\ncnumpy\ndtype\n(S'O'\ntR(I1\ntS'C'\ntR.",
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'O'\ntRS'12345678'\ntR.",
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"cnumpy.core.multiarray\n_reconstruct.__globals__\n.",
    ],
)
def test_forged_pickles_are_refused(tmp_path, call):
    with pytest.raises(InputError):
        read_plain_pickle(dumped(tmp_path, call))


@pytest.mark.parametrize("value", [b"", b"<html>404", pickle.dumps(PLAIN)[:40]])
def test_a_damaged_file_is_named(tmp_path, value):
    with pytest.raises(InputError, match=r"file\.pkl"):
        read_plain_pickle(dumped(tmp_path, value))


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.pkl does not exist"):
        read_plain_pickle(tmp_path / "nothing.pkl")
