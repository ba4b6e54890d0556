"""Streams that take any text."""

import io
from typing import TextIO


def never_fail_to_print(*streams: TextIO) -> None:
    """Have streams print `?` for what their encoding lacks, such as σ, rather than end the run."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")
