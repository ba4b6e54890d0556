from dds.results.finish import finish, provenance
from dds.results.run_folder import RunFolder
from dds.results.writer import ResultsWriter

__all__ = ["ResultsWriter", "RunFolder", "finish", "provenance"]
