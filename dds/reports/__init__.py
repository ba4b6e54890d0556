"""What people look at: figures, pages, tables."""

from dds.reports.comparison import write_comparison
from dds.reports.page import write_report
from dds.reports.table import summary_tables

__all__ = ["summary_tables", "write_comparison", "write_report"]
