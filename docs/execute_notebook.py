"""Execute the notebook of the tutorials anew, and keep its outputs: `python docs/execute_notebook.py`."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent / "tutorials" / "notebook.ipynb"

_SETTINGS = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    # of tqdm, for libraries that draw bars by ipywidgets; and of diffusers 0.36 on any CPU
    "PYTHONWARNINGS": "ignore:IProgress not found,ignore:CUDA is not available or torch_xla is imported",
}


def execute(folder: str) -> nbformat.NotebookNode:
    """Return the notebook with what its cells say in a folder, which it may fill."""
    book = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(book, timeout=600, record_timing=False, resources={"metadata": {"path": folder}})
    client.execute(env={**os.environ, **_SETTINGS})
    return book


if __name__ == "__main__":
    with TemporaryDirectory() as empty:
        nbformat.write(execute(empty), NOTEBOOK)
