from dds.results.report.page import write_report
from dds.results.report.source import read_run, read_samples

__all__ = ["read_run", "read_samples", "write_report"]
