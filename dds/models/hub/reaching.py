"""What cannot be had from the hub, and why."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from dds.errors import InputError

Thing = Literal["model", "data set"]

_LONGEST = 200  # characters of other people's messages

_OFFLINE = "LocalEntryNotFoundError", "OfflineModeIsEnabled", "ConnectError", "ConnectionError"
_REASONS = {
    "GatedRepoError": "asks for its terms to be accepted on its page first, and for `hf auth login`",
    "RevisionNotFoundError": "has no such revision",
    "RepositoryNotFoundError": "is no {} of the hub (a private one needs `hf auth login`), and no folder",
    "DatasetNotFoundError": "is no {} of the hub (a private one needs `hf auth login`), and no folder",
    "HFValidationError": "is no folder, and cannot be a name on the hub",
}
"""By the names of the hub's errors, the most particular first."""


def library(name: str) -> Any:
    """Import `transformers`, `open_clip` or `datasets`, which take seconds, where they are used.

    Raises:
        InputError: If it is not installed.
    """
    try:
        if name == "transformers":
            import transformers

            return transformers
        if name == "datasets":
            import datasets

            return datasets
        import open_clip
    except ImportError as error:
        things = "data sets" if name == "datasets" else "models"
        raise InputError(
            f"{things} of the hub are read by {name}, which cannot be imported ({error}). Run: "
            "pip install 'dds[hub]'"
        ) from error
    return open_clip


def source_of(name: str) -> str:
    """Return what `from_pretrained` takes: a folder's path, or the name on the hub."""
    path = Path(name).expanduser()
    return str(path) if path.is_dir() else name


@contextmanager
def reaching(name: str, thing: Thing = "model") -> Iterator[None]:
    """Say in one sentence why a model or a data set cannot be had, whichever library found out.

    Raises:
        InputError: If anything at all is raised while the context lasts.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # of any of these libraries, without a common base
        raise InputError(f"{name} {_reason(error, thing)}. {remedy(name, thing)}") from error


def remedy(name: str, thing: Thing = "model") -> str:
    """Return what to do where a model or a data set cannot be loaded."""
    if Path(name).expanduser().is_dir():
        return "Download or save it again."
    kind = "--repo-type dataset " if thing == "data set" else ""
    return (
        f"Where the hub can be reached, run `hf download {name} {kind}--local-dir FOLDER`; the path of that "
        "folder works here as well as the name."
    )


@contextmanager
def quietly(transformers: Any) -> Iterator[None]:
    """Keep transformers from progress bars and reports; what is wrong is said by `InputError`s."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _reason(error: BaseException, thing: Thing) -> str:
    raised = {kind.__name__ for one in _causes(error) for kind in type(one).__mro__}
    for kind, reason in _REASONS.items():
        if kind in raised:
            return reason.format(thing)
    if raised.intersection(_OFFLINE):
        return "is neither a folder nor in the hub's cache, and the hub cannot be reached from here"
    text = " ".join(str(error).split()).rstrip(".")
    if "trust_remote_code" in text:
        return "wants code from the hub, which is never run. Name a class of your own in its place"
    return f"cannot be loaded: {text if len(text) <= _LONGEST else f'{text[:_LONGEST]}…'}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
