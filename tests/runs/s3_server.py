"""A real S3 server on this machine, and what goes wrong on the way to it."""

import io
import re
import socket
import threading
from collections.abc import Callable

import fsspec
import pytest
import s3fs
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from dds import storage

BUCKET = "bucket"


class Server:
    """An S3 server by moto; `faults` are asked of each request and may answer in its place.

    A fault takes the WSGI environment and a function that really serves the request; it returns None, or the
    status, headers and body of an answer.
    """

    def __init__(self):
        self.faults, self.requests = [], []
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _answer(self, environ, start_response):
        self.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        environ["wsgi.input"] = io.BytesIO(
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        )
        for fault in self.faults:
            if (answer := fault(environ, lambda: self._serve(environ))) is not None:
                status, headers, body = answer
                start_response(status, headers)
                return [body]
        return self._app(environ, start_response)

    def _serve(self, environ):
        said = []
        body = b"".join(self._app(environ, lambda *given: said.extend(given)))
        return said[0], said[1], body

    def stop(self):
        self._server.shutdown()


def every(n: int, fault: Callable) -> Callable:
    """Have every nth request meet a fault."""
    count = iter(range(1, 10**9))
    return lambda environ, serve: fault(environ, serve) if next(count) % n == 0 else None


def once(fault: Callable, method: str = "PUT", path: str = "") -> Callable:
    """Have the first request of a kind meet a fault."""
    left = [fault]

    def meets(environ, serve):
        fits = environ["REQUEST_METHOD"] == method and path in environ["PATH_INFO"]
        return left.pop()(environ, serve) if left and fits else None

    return meets


def at(path: str, fault: Callable) -> Callable:
    """Have every request for some objects meet a fault."""
    return lambda environ, serve: fault(environ, serve) if path in environ["PATH_INFO"] else None


def busy(environ, serve):
    body = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
    return "503 Slow Down", [("Content-Length", str(len(body)))], body


def broken_off(environ, serve):
    """Close the connection before anything is done."""
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    return "500 Internal Server Error", [], b""


def unanswered(environ, serve):
    """Do what is asked, and close the connection."""
    serve()
    return broken_off(environ, serve)


def half_a_list(environ, serve):
    """Leave every other object out of a list."""
    if environ["REQUEST_METHOD"] != "GET" or "list-type=2" not in environ["QUERY_STRING"]:
        return None
    status, headers, body = serve()
    entries = re.findall(rb"<Contents>.*?</Contents>", body, re.DOTALL)
    for entry in entries[::2]:
        body = body.replace(entry, b"")
    return status, [(name, value) for name, value in headers if name.lower() != "content-length"], body


@pytest.fixture(scope="module")
def server():
    """Serve S3, which is found by the environment."""
    with pytest.MonkeyPatch.context() as patch:
        running = Server()
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
        for name, value in zip(names, ("id", "secret", "us-east-1"), strict=True):
            patch.setenv(name, value)
        patch.setenv("AWS_ENDPOINT_URL", running.url)
        patch.setenv("AWS_MAX_ATTEMPTS", "1")  # what goes wrong reaches us
        patch.setattr(s3fs.S3FileSystem, "retries", 1)
        s3fs.S3FileSystem.clear_instance_cache()
        fsspec.filesystem("s3").makedirs(BUCKET, exist_ok=True)
        yield running
        running.stop()
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def s3(server, monkeypatch, request):
    """An URL on it of this test alone, without waiting for what went wrong."""
    monkeypatch.setattr(storage, "PATIENCE", 3.0)
    monkeypatch.setattr(storage.time, "sleep", lambda seconds: None)
    server.faults, server.requests = [], []
    yield f"s3://{BUCKET}/{re.sub(r'[^a-z0-9]+', '-', request.node.name)}"
    server.faults = []
