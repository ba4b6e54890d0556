"""Attacked images on a real S3 server, which does not always answer."""

import pytest
from runs.s3_server import at, busy, every, s3, server  # noqa: F401
from store.test_store import run

from dds.errors import InputError
from dds.store import Store


def test_all_is_found_again_though_requests_fail(s3, server):  # noqa: F811
    server.faults.append(every(5, busy))
    assert run(s3) == (0, 16)
    assert run(s3) == (16, 0)


def test_a_server_that_answers_no_longer_ends_the_keeping_and_not_the_run(s3, server, monkeypatch, capsys):  # noqa: F811
    Store(s3)
    monkeypatch.setattr("dds.store.store.GREETING", 0.0)
    server.faults.append(at(".attacked", busy))
    assert run(s3) == (0, 16)
    assert capsys.readouterr().err.count(f"cannot be written: {s3} did not answer") == 1


def test_no_bucket_and_other_things(s3, server):  # noqa: F811
    with pytest.raises(InputError, match="not-there/store cannot be used: .*there is no such bucket"):
        Store("s3://not-there/store")
    Store(f"{s3}/store")
    with pytest.raises(InputError, match=f"{s3} cannot be used: it holds other things"):
        Store(s3)
