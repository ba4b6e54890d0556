from dds.results.report.page import write_report
from dds.results.report.source import read_run

__all__ = ["read_run", "write_report"]
