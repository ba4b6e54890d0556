from dds.results.report.comparison import write_comparison
from dds.results.report.page import write_report
from dds.results.report.source import read_run, read_samples

__all__ = ["read_run", "read_samples", "write_comparison", "write_report"]
