class InputError(ValueError):
    """What a user gave cannot be used.

    The message says what came, what was expected and what to do. The command line prints it without a
    traceback and exits with status 2.
    """
