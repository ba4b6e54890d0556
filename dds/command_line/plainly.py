"""How errors reach the user."""

import sys
from collections.abc import Callable
from functools import wraps

from dds.command_line.parser import Arguments
from dds.errors import InputError


def plainly(command: Callable[[Arguments], None]) -> Callable[..., None]:
    """Print the errors that users can mend as one message without a traceback, and exit with 2."""

    @wraps(command)
    def run(arguments: Arguments = None) -> None:
        try:
            command(arguments)
        except Exception as error:
            cause = _input_error(error)
            if cause is None:
                raise
            print(f"error: {cause}", file=sys.stderr)
            sys.exit(2)

    return run


def _input_error(error: BaseException | None) -> InputError | None:
    """Find the user's error in what jsonargparse wraps around it."""
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__
    return error
