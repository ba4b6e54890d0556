"""How errors reach the user."""

import sys
from collections.abc import Callable
from functools import wraps
from traceback import print_exception

from dds.command_line.mistakes import explain
from dds.command_line.parser import Arguments
from dds.command_line.trail import follow, input_error
from dds.streams import never_fail_to_print

DEBUG = "--debug"


def plainly(command: Callable[[list[str]], None]) -> Callable[..., None]:
    """Print the errors that users can mend as one message without a traceback, and exit with 2.

    With `--debug` among the arguments the traceback comes first.
    """

    @wraps(command)
    def run(arguments: Arguments = None) -> None:
        given = sys.argv[1:] if arguments is None else arguments
        never_fail_to_print(sys.stdout, sys.stderr)
        try:
            command([argument for argument in given if argument != DEBUG])
        except Exception as error:
            message = explain(error)
            if message is None:
                raise
            if DEBUG in given:
                print_exception(error)
                print_exception(input_error(error) or follow(error).error)  # which the first may not show
            print(f"error: {message}", file=sys.stderr)
            sys.exit(2)

    return run
