"""Where runs are: folders, and URLs of object storage."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fsspec.core import has_magic

from dds.errors import InputError
from dds.runs.objects import Objects
from dds.runs.remote_folder import COPIES, RemoteFolder
from dds.runs.run_folder import RunFolder
from dds.storage import below, is_url, local_path


def open_folder(place: str | Path, numbered: bool = False) -> RunFolder:
    """Return the folder of a run, on this machine's file systems or on object storage.

    Args:
        place: A path, or an URL such as `s3://bucket/runs/scenes/study`.
        numbered: As for `RunFolder`.

    Raises:
        InputError: If it is an URL that cannot be opened.
    """
    if is_url(place):
        return RemoteFolder(str(place), numbered)
    return RunFolder(local_path(place), numbered)


def find_folders(place: str) -> list[RunFolder]:
    """Return the folder of a run, with what there is on object storage; of a pattern of URLs all that fit.

    Args:
        place: A path, an URL, or such as `s3://bucket/runs/*/study`.

    Raises:
        InputError: If it is an URL that cannot be opened, or a pattern that no run fits.
    """
    if not is_url(place) or not has_magic(place):
        folder = open_folder(place)
        folder.check()
        folder.look()
        return [folder]
    *before, pattern = re.split(r"/(?=[^/]*[*?\[])", place, maxsplit=1)
    url = "/".join(before)
    found = Objects(url).matching(f"{pattern.rstrip('/')}/config.yaml")
    if not found:
        raise InputError(f"no run fits {place}; expected URLs of runs, such as {url}/<experiment>/<name>.")
    return [
        one for name in sorted(found) for one in find_folders(f"{url}/{name.removesuffix('/config.yaml')}")
    ]


def newest_run(experiment: str) -> str | None:
    """Return the run that was begun last, among those of an experiment; None where there is none."""
    if is_url(experiment):
        objects = Objects(experiment)
        objects.check()
        begun = {name: found.modified for name, found in objects.matching("*/config.yaml").items()}
    else:
        root = local_path(experiment)
        begun = {f"{path.parent.name}/": path.stat().st_mtime for path in root.glob("*/config.yaml")}
    return below(experiment, max(begun, key=lambda name: begun[name]).partition("/")[0]) if begun else None


@contextmanager
def named_by_url() -> Iterator[None]:
    """Have errors name runs on object storage by their URLs, not by their working copies."""
    try:
        yield
    except InputError as error:
        text = str(error)
        for path, url in COPIES.items():
            text = text.replace(path, url)
        error.args = (text,)
        raise
