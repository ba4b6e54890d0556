"""The numbers: what was measured, as metrics with intervals, and what they say of attacks and defences."""

from dds.results.notes import notes
from dds.results.results import Results
from dds.results.sanity import findings
from dds.results.source import read_run

__all__ = ["Results", "findings", "notes", "read_run"]
