"""Which code an attacked image depends on."""

import sys
from types import ModuleType

from dds.fingerprints.code import code_of


def test_the_program_that_was_started_counts_under_no_name(tmp_path, monkeypatch):
    """`python evaluate.py`, the command `dds` and a submitted job find each other's images."""
    before = code_of([])["users"]
    program = ModuleType("__main__")
    program.__file__ = str(tmp_path / "evaluate.py")
    (tmp_path / "evaluate.py").write_text("")
    monkeypatch.setitem(sys.modules, "__main__", program)
    monkeypatch.setitem(sys.modules, "__mp_main__", program)
    assert code_of([])["users"] == before
    assert code_of(["__main__"])["users"] != before
