import os
import time

import pytest

from dds.runs import claims
from dds.runs.board import FolderBoard
from dds.runs.claims import Claims

WORK = [4, 7, 19]


def signs(folder):
    return list(folder.glob("*.alive.partial"))


def be_silent(folder):
    """Make all jobs look as if they had been killed or suspended long ago."""
    for sign in signs(folder):
        os.utime(sign, (0, 0))


def test_of_two_that_see_the_same_one_gets_it(tmp_path):
    with Claims(FolderBoard(tmp_path)) as one, Claims(FolderBoard(tmp_path)) as two:
        assert one.free(WORK) == two.free(WORK) == set(WORK)
        assert [one.take(4), two.take(4), two.take(7), one.take(7)] == [True, False, True, False]
        assert [one.hold([4]), two.hold([7])] == [True, True]
        assert one.free(WORK) == {19}


def test_what_was_not_free_cannot_be_taken(tmp_path):
    with Claims(FolderBoard(tmp_path)) as one, Claims(FolderBoard(tmp_path)) as two:
        assert not one.take(4)
        assert one.free(WORK)
        assert one.take(4)
        two.free(WORK)
        assert not two.take(4)


def test_what_a_dead_job_held_is_taken_once(tmp_path):
    dead, one, two = (
        Claims(FolderBoard(tmp_path)),
        Claims(FolderBoard(tmp_path)),
        Claims(FolderBoard(tmp_path)),
    )
    assert dead.free(WORK)
    assert dead.take(4)
    assert one.free(WORK) == {7, 19}
    be_silent(tmp_path)
    assert one.free(WORK) == two.free(WORK) == set(WORK)
    assert [one.take(4), two.take(4)] == [True, False]
    assert [dead.hold([4]), one.hold([4])] == [False, True]
    for job in (dead, one, two):
        job.give_back()


def test_a_job_that_ends_gives_back_what_is_not_done(tmp_path):
    with Claims(FolderBoard(tmp_path)) as first:
        assert first.free(WORK)
        assert first.take(4)
        assert first.take(7)
        first.done.add(4)
    assert not signs(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["4.0.claim.partial"]
    asked = []
    with Claims(FolderBoard(tmp_path), lambda work: asked.append(work) or False) as second:
        assert second.free(WORK) == set(WORK)
        assert [second.take(4), second.take(7)] == [False, True]
        assert asked == [4]  # what nobody held before is certainly left


def test_a_view_that_is_out_of_date_takes_nothing_that_is_done(tmp_path):
    with Claims(FolderBoard(tmp_path)) as late:
        assert late.free(WORK) == set(WORK)
        with Claims(FolderBoard(tmp_path)) as quick:
            assert quick.free(WORK)
            assert quick.take(4)
            quick.done.add(4)
        assert not late.take(4)


def test_a_job_lives_as_long_as_it_beats(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "BEAT", 0.02)
    with Claims(FolderBoard(tmp_path)) as one, Claims(FolderBoard(tmp_path)) as two:
        assert one.free(WORK)
        assert one.take(4)
        be_silent(tmp_path)
        until = time.monotonic() + 10
        while two.free(WORK) != {7, 19}:
            assert time.monotonic() < until
        one._ended.set()
        one._beating.join()
        be_silent(tmp_path)
        assert two.free(WORK) == set(WORK)


def test_a_claim_in_which_nobody_stands_yet_counts(tmp_path):
    (tmp_path / "4.0.claim.partial").touch()
    with Claims(FolderBoard(tmp_path)) as one:
        assert one.free(WORK) == {7, 19}


@pytest.mark.parametrize("gone", [True, False])
def test_a_folder_that_another_job_has_merged(tmp_path, gone):
    with Claims(FolderBoard(tmp_path / "parts")) as one:
        if not gone:
            (tmp_path / "parts").mkdir()
        assert one.free(WORK) == set(WORK)
        assert one.take(4) is not gone
