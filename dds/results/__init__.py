from dds.results.notes import notes
from dds.results.report import read_run, write_comparison, write_report
from dds.results.results import Results
from dds.results.run_folder import RunFolder
from dds.results.sanity import findings
from dds.results.table import summary_tables
from dds.results.writer import ResultsWriter

__all__ = [
    "Results",
    "ResultsWriter",
    "RunFolder",
    "findings",
    "notes",
    "read_run",
    "summary_tables",
    "write_comparison",
    "write_report",
]
