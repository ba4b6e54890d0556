"""What a user types to run a command, in the way in which this process was started."""

import sys
from pathlib import Path

_SCRIPTS = ("evaluate.py", "train.py")


def program(command: str = "evaluate") -> str:
    """Return what precedes the options of a command: `python evaluate.py certify`, or `dds certify`.

    Args:
        command: `evaluate`, `train`, or what `dds.cli` has besides.
    """
    started = Path(sys.argv[0])
    if started.name in _SCRIPTS:
        script = started.with_name("train.py" if command == "train" else "evaluate.py")
        return f"python {script}" if command in ("evaluate", "train") else f"python {script} {command}"
    return f"python -m dds {command}" if started.name == "__main__.py" else f"dds {command}"
