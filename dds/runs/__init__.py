"""Doing and keeping: what a job measures, and the folder in which a run leaves it."""

from dds.runs.run_folder import RunFolder
from dds.runs.writer import ResultsWriter

__all__ = ["ResultsWriter", "RunFolder"]
