"""Object storage by its URL, `s3://bucket/folder`: opened by fsspec, asked again where it does not answer."""

import errno
import logging
import random
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import fsspec
from fsspec import AbstractFileSystem

from dds.errors import InputError

logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # its tracebacks of what is tried again

T = TypeVar("T")

PATIENCE = 300.0
"""Seconds until a storage that does not answer is given up."""

GREETING = 20.0
"""The same, of the first time that it is spoken to; one request may take as long again."""

_LONGEST_PAUSE = 30.0  # seconds from one try to the next

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_MISTYPED = re.compile(r"(s3|gs|gcs|memory|file|abfs|az)(:/(?!/)|:[^/])")

_OF_AWS = "AWS_ACCESS_KEY_ID, AWS_PROFILE, ~/.aws or the machine's role, and AWS_ENDPOINT_URL"
_OF_GOOGLE = "GOOGLE_APPLICATION_CREDENTIALS, or gcloud auth application-default login"
_CREDENTIALS = {"s3": _OF_AWS, "s3a": _OF_AWS, "gs": _OF_GOOGLE, "gcs": _OF_GOOGLE}
"""Where credentials come from, for what the extra `cloud` brings."""

_FOREIGN = {
    "botocore",
    "aiobotocore",
    "aiohttp",
    "asyncio",
    "fsspec",
    "gcsfs",
    "google",
    "requests",
    "urllib3",
}
"""Packages whose own errors, other than `OSError`, speak of the way to the storage."""

_FINAL = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, NotImplementedError)
_FINAL_NUMBERS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EINVAL, errno.EPERM, errno.ENAMETOOLONG}
_BROKEN_OFF = {
    "IncompleteBody",
    "BadDigest",
    "RequestTimeout",
    "ConditionalRequestConflict",
}  # of EINVAL, S3's


def is_url(place: str | Path) -> bool:
    """Tell whether a place is an URL of object storage, and no folder.

    Raises:
        InputError: If it looks like a mistyped one.
    """
    if _MISTYPED.match(str(place)):
        scheme = str(place).partition(":")[0]
        raise InputError(f"{place} is no URL and no folder; expected {scheme}://… with two slashes.")
    return isinstance(place, str) and bool(_URL.match(place)) and scheme_of(place) not in ("file", "local")


def scheme_of(place: str | Path) -> str:
    """Return `s3` of `s3://bucket`; `file` of a folder."""
    found = _URL.match(str(place))
    return found[1].lower() if found else "file"


def local_path(place: str | Path) -> Path:
    """Return the folder that a path or an URL of `file://` names.

    Raises:
        InputError: If the URL names none.
    """
    if isinstance(place, Path) or not _URL.match(place):
        return Path(place)
    path = Path(place.partition("://")[2])
    if not path.is_absolute():
        raise InputError(f"{place} names no folder; expected file:///… with three slashes, or a path.")
    return path


def only_here(option: str, place: str) -> Path:
    """Return the path that an option names, which cannot be an URL.

    Raises:
        InputError: If it is one.
    """
    if is_url(place):
        raise InputError(f"--{option}={place} is on object storage; expected a place on this machine.")
    return local_path(place).expanduser()


def below(place: str | Path, *names: str) -> str:
    """Return what lies below a folder or an URL."""
    if not is_url(place):
        return str(local_path(place).joinpath(*names))
    return "/".join([str(place).rstrip("/"), *names])


def open_storage(place: str | Path) -> tuple[AbstractFileSystem, str]:
    """Return the file system of an URL or a folder, and the path in it.

    Nothing is asked of it yet: `persistently` says what is wrong when something is.

    Raises:
        InputError: If there are no such URLs, their package is missing, or the bucket is not named.
    """
    if not is_url(place):
        return fsspec.filesystem("file"), str(local_path(place).absolute())
    scheme = scheme_of(place)
    options: dict[str, Any] = {} if scheme == "memory" else {"use_listings_cache": False}
    try:
        filesystem = fsspec.filesystem(scheme, **options)
        root = filesystem._strip_protocol(str(place)).rstrip("/")
    except ImportError as error:
        how = f"pip install 'dds[cloud]' ({error})" if scheme in _CREDENTIALS else error
        raise InputError(f"{place} needs a package: {how}") from error
    except ValueError as error:
        raise InputError(
            f"{place} cannot be opened ({error}); expected a folder, or an URL of s3://, gs:// or what else "
            "fsspec knows."
        ) from error
    except Exception as error:
        raise InputError(_explain(error, str(place), 0.0)) from error
    if not root.strip("/") and scheme != "memory":
        raise InputError(f"{place} names no bucket; expected {scheme}://<bucket>/<folder>.")
    return filesystem, root


def read_objects(filesystem: AbstractFileSystem, paths: Sequence[str]) -> dict[str, bytes]:
    """Return the content of small objects, by path, without those that are not there.

    Raises:
        Exception: What keeps one of them from being read, as the file system says it.
    """
    found = filesystem.cat([*paths], on_error="return")
    for content in found.values():
        if isinstance(content, Exception) and not isinstance(content, FileNotFoundError):
            raise content
    return {path: content for path, content in found.items() if isinstance(content, bytes)}


def persistently(work: Callable[[], T], place: str, patience: float | None = None) -> T:
    """Do something with a storage, again and again while it does not answer.

    Time-outs, connections that break off and what a server says when it is busy (503, 429) are waited for,
    with pauses that grow to half a minute.

    Args:
        work: What is done; it may be done twice.
        place: The URL that a message names.
        patience: Seconds after which no new try begins; default: `PATIENCE`.

    Raises:
        InputError: If it may not be done, or the storage never answers.
        FileNotFoundError: If the object is not there.
        FileExistsError: If it is there, and was not to be.
    """
    patience = PATIENCE if patience is None else patience
    until, pause = time.monotonic() + patience, 0.5
    while True:
        try:
            return work()
        except Exception as error:
            if isinstance(error, (FileNotFoundError, FileExistsError)) and _code(error) != "NoSuchBucket":
                raise
            if _code(error) == "PreconditionFailed":  # not all servers say of which condition
                raise FileExistsError(place) from error
            if not _is_passing(error) and not _is_of_storage(error):
                raise
            if not _is_passing(error) or time.monotonic() + pause > until:
                raise InputError(_explain(error, place, patience)) from error
        time.sleep(pause * random.uniform(0.5, 1))
        pause = min(2 * pause, _LONGEST_PAUSE)


def _is_passing(error: Exception) -> bool:
    """Tell whether it may go the next time."""
    if isinstance(error, _FINAL) or _is_refusal(error):
        return False
    if isinstance(error, OSError):
        return error.errno not in _FINAL_NUMBERS or _code(error) in _BROKEN_OFF
    status = getattr(error, "code", None)  # of gcsfs
    if isinstance(status, int) and 400 <= status < 500 and status not in (408, 429):
        return False
    return _is_of_storage(error)


def _is_refusal(error: Exception) -> bool:
    kind = type(error).__name__
    return isinstance(error, PermissionError) or "Credential" in kind or str(error).startswith("Forbidden")


def _is_of_storage(error: Exception) -> bool:
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in _FOREIGN


def _code(error: Exception) -> str:
    """Return what S3 calls an error, behind that which s3fs makes of it."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def _explain(error: Exception, place: str, patience: float) -> str:
    reason = " ".join(str(error).split()) or type(error).__name__
    if _is_refusal(error):
        source = _CREDENTIALS.get(scheme_of(place), "the usual places of its package")
        return f"{place} is refused: {reason}. Check the credentials, which come from {source}."
    if _code(error) == "NoSuchBucket" or isinstance(error, FileNotFoundError):
        return f"{place}: there is no such bucket ({reason}). Make it, or name another."
    if _is_passing(error):
        return f"{place} did not answer for {patience:.0f} seconds: {reason}. Check network and address."
    return f"{place} cannot be used: {reason}."
