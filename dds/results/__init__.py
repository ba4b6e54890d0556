from dds.results.figures import draw_figures
from dds.results.notes import notes
from dds.results.provenance import provenance
from dds.results.run_folder import RunFolder
from dds.results.sanity import findings
from dds.results.summary import SCHEMA, summarise
from dds.results.table import summary_table
from dds.results.wandb_log import log_to_wandb
from dds.results.writer import ResultsWriter

__all__ = [
    "SCHEMA",
    "ResultsWriter",
    "RunFolder",
    "draw_figures",
    "findings",
    "log_to_wandb",
    "notes",
    "provenance",
    "summarise",
    "summary_table",
]
