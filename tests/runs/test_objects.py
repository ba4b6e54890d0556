"""Objects by name, in memory and on a real S3 server with faults."""

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from runs.s3_server import broken_off, busy, once, s3, server, unanswered  # noqa: F401

from dds.errors import InputError
from dds.runs.objects import Objects


@pytest.fixture(params=["memory", "s3"])
def objects(request):
    if request.param == "memory":
        return Objects(f"memory://{request.node.originalname}")
    return Objects(request.getfixturevalue("s3"))


def put(objects, folder, **contents):
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return objects.put({f"parts/{name}": folder / name for name in contents})


def contents(objects):
    return objects.read(list(objects.find()))


def test_files_go_and_come_back_whole(objects, tmp_path):
    sent = put(objects, tmp_path, a=b"one", b=b"", c=bytes(100_000))
    assert sent == objects.find()
    got = objects.get({name: tmp_path / "here" / name for name in [*sent, "parts/gone"]})
    assert got == sent
    assert {path.name: path.read_bytes() for path in (tmp_path / "here" / "parts").iterdir()} == {
        name: (tmp_path / name).read_bytes() for name in "abc"
    }
    assert (tmp_path / "here" / "parts" / "a").stat().st_mtime == pytest.approx(sent["parts/a"].modified)
    put(objects, tmp_path, a=b"two")
    assert objects.find()["parts/a"].tag != sent["parts/a"].tag


def test_names(objects):
    assert objects.find() == {}
    assert objects.create("a", b"1")
    assert objects.create("a", b"1")
    assert not objects.create("a", b"2")
    objects.write("b[1]", b"3", patience=1)
    objects.write("b1", b"4", patience=1)
    objects.rename("a", "c/d")
    objects.remove(["b[1]", "not there"])
    assert contents(objects) == {"b1": b"4", "c/d": b"1"}
    objects.remove(["b1", "not there", "c/d"])
    assert objects.find() == {}
    assert objects.read(["a"]) == {}
    objects.check()


def test_whether_the_first_is_kept_is_tried(objects, server, monkeypatch):  # noqa: F811
    assert objects.keeps_the_first()
    server.faults = [lambda environ, serve: environ.pop("HTTP_IF_NONE_MATCH", None) and None]
    assert objects.keeps_the_first() is (not objects.url.startswith("s3"))
    assert objects.find() == {}
    monkeypatch.setattr("dds.runs.objects._EXCLUSIVE", ())
    assert not objects.keeps_the_first()


def test_patterns(objects):
    for name in ("a/x/config.yaml", "b/x/config.yaml", "b/y/config.yaml", "b/x/y/config.yaml", "config.yaml"):
        objects.create(name, b"")
    assert objects.matching("*/x/config.yaml").keys() == {"a/x/config.yaml", "b/x/config.yaml"}
    assert objects.matching("b/*/config.yaml").keys() == {"b/x/config.yaml", "b/y/config.yaml"}
    assert objects.below("c").matching("*/config.yaml") == {}


@pytest.mark.parametrize("fault", [busy, broken_off, unanswered])
def test_what_goes_wrong_once_is_tried_again(s3, server, tmp_path, fault):  # noqa: F811
    objects = Objects(s3)
    server.faults = [once(fault)]
    assert objects.create("claim", b"mine")  # also where it was the try that seemed to fail
    assert not objects.create("claim", b"others'")
    for method in ("PUT", "GET", "HEAD", "DELETE", "POST"):
        server.faults = [once(fault, method)]
        put(objects, tmp_path, a=b"content")
        assert objects.get({"parts/a": tmp_path / "back"})
        assert objects.find().keys() == {"claim", "parts/a"}
        objects.remove(["parts/a"])
    assert contents(objects) == {"claim": b"mine"}


def test_what_stays_wrong_is_said(s3, server, tmp_path, monkeypatch):  # noqa: F811
    objects = Objects(s3)
    server.faults = [busy]
    objects.patience = 0.01
    with pytest.raises(InputError, match=f"{s3}/parts/a did not answer for .* Reduce your request rate"):
        put(objects, tmp_path, a=b"content")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://not-there/runs", "there is no such bucket"),
        ("s3://bucket/runs*", r"has one of \* \? \[ in it"),
    ],
)
def test_places_that_are_none(server, url, said):  # noqa: F811
    with pytest.raises(InputError, match=said):
        Objects(url).check()


def test_a_bucket_that_only_writing_misses(tmp_path, monkeypatch):
    """As with servers that call it an empty list."""
    objects = Objects("memory://nothing")

    def missing(*given, **more):
        raise FileNotFoundError("bucket")

    for name in ("pipe_file", "put"):
        monkeypatch.setattr(MemoryFileSystem, name, missing)
    for write in (lambda: objects.create("a", b""), lambda: put(objects, tmp_path, a=b"")):
        with pytest.raises(InputError, match="there is no such bucket"):
            write()


def test_who_may_not_is_told(s3, server):  # noqa: F811
    body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
    server.faults = [lambda environ, serve: ("403 Forbidden", [], body)]
    with pytest.raises(InputError, match=r"refused: Access Denied.*AWS_PROFILE"):
        Objects(s3).check()
