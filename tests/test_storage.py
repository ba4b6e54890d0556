"""What a storage says, and what is done about it."""

import errno

import fsspec
import pytest

from dds import storage
from dds.errors import InputError
from dds.storage import below, is_url, local_path, open_storage, persistently


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(storage.time, "sleep", lambda seconds: None)


def failing(*errors):
    """Return work that fails so often, then is done."""
    left = list(errors)

    def work():
        if left:
            raise left.pop(0)
        return "done"

    return work


def s3_error(code):
    error = OSError(errno.EINVAL, code)
    error.__cause__ = type("ClientError", (Exception,), {"response": {"Error": {"Code": code}}})()
    return error


def test_urls_and_folders(tmp_path):
    assert [
        is_url(place) for place in ("s3://b/x", "memory://x", "runs", tmp_path, f"file://{tmp_path}")
    ] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert below("s3://b/runs/", "a", "b") == "s3://b/runs/a/b"
    assert below(f"file://{tmp_path}", "a") == below(tmp_path, "a") == str(tmp_path / "a")
    assert open_storage(tmp_path)[1] == str(tmp_path)
    with pytest.raises(InputError, match="file:///… with three slashes"):
        local_path("file://runs")


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("s3:/bucket/runs", "expected s3://… with two slashes"),
        ("gs:bucket", "expected gs://… with two slashes"),
        ("s4://bucket/runs", "Protocol not known: s4"),
        ("s3://", r"names no bucket; expected s3://<bucket>/<folder>"),
    ],
)
def test_what_is_no_url(place, said):
    with pytest.raises(InputError, match=said):
        open_storage(place)


def test_a_package_that_is_missing_is_named(monkeypatch):
    def lacking(*given, **options):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "filesystem", lacking)
    with pytest.raises(InputError, match=r"pip install 'dds\[cloud\]' \(Install s3fs"):
        open_storage("s3://bucket")


PASSING = [
    TimeoutError("late"),
    ConnectionResetError("reset"),
    OSError(errno.EBUSY, "503"),
    OSError("broken"),
]


def test_what_may_pass_is_waited_for():
    assert persistently(failing(*PASSING, s3_error("IncompleteBody")), "s3://b") == "done"
    with pytest.raises(InputError, match="s3://b did not answer for 0 seconds: late"):
        persistently(failing(*PASSING), "s3://b", patience=0)


@pytest.mark.parametrize(
    ("error", "raised", "said"),
    [
        (PermissionError("Access Denied"), InputError, "refused: Access Denied.*AWS_PROFILE"),
        (OSError("Forbidden: s3"), InputError, "refused"),
        (s3_error("InvalidBucketName"), InputError, "cannot be used"),
        (FileNotFoundError("x"), FileNotFoundError, "x"),
        (FileExistsError("x"), FileExistsError, "x"),
        (KeyError("ours"), KeyError, "ours"),
    ],
)
def test_what_will_not_pass_is_said_at_once(error, raised, said):
    with pytest.raises(raised, match=said):
        persistently(failing(error), "s3://b")
