"""Files from the web, fetched once."""

from http.client import HTTPException
from pathlib import Path

from torch.hub import download_url_to_file, get_dir

from dds.errors import InputError


def cached(url: str) -> Path:
    """Return the local copy of a file, downloaded at the first call into torch's hub cache.

    Args:
        url: The file's address; the copy bears its last part as name.

    Raises:
        InputError: If the file is neither in the cache nor can be fetched.
    """
    path = Path(get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            download_url_to_file(url, str(path), progress=False)  # leaves nothing behind when it fails
        except (OSError, HTTPException) as error:
            raise InputError(
                f"{url} cannot be downloaded: {error}. Download it where the network allows, and give the "
                f"file's path instead, or put it at {path}."
            ) from error
    return path
