"""The notebook of the tutorials runs, and shows what it would show today."""

import re
import runpy

import nbformat
import pytest
from docs.pages import ROOT

NOTEBOOK = ROOT / "docs" / "tutorials" / "notebook.ipynb"
HERE = re.compile(r"(?<![\w.])/(?:tmp|home|root|work|mnt|Users|opt|usr|var)/")


@pytest.fixture(scope="module")
def kept():
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    execute = runpy.run_path(str(ROOT / "docs" / "execute_notebook.py"))["execute"]
    return execute(str(tmp_path_factory.mktemp("notebook")))


def code(book):
    return [cell for cell in book.cells if cell.cell_type == "code"]


def shown(cell, kind="execute_result"):
    """Return the text of what a cell shows, without pictures."""
    outputs = [one.data for one in cell.outputs if one.output_type == kind]
    return re.sub(r"<[^>]*>", " ", "".join(data.get("text/html", "") for data in outputs))


def measured(text):
    return [float(number) for number in re.findall(r"-?\d+\.\d+", text)]


def test_every_cell_runs_and_shows_the_numbers_that_are_kept(kept, executed):
    """The last digits of a gradient are the processor's, so what attacks leave may differ a little."""
    for before, now in zip(code(kept), code(executed), strict=True):
        assert "error" not in {output.output_type for output in now.outputs}
        assert "stderr" not in {output.get("name") for output in now.outputs}
        assert {one.output_type for one in now.outputs} == {one.output_type for one in before.outputs}
        for row, other in zip(shown(before).split("\n"), shown(now).split("\n"), strict=True):
            tolerance = 1e-3 if "clean" in row or "pgd" not in shown(before) else 0.02
            assert measured(row) == pytest.approx(measured(other), abs=tolerance)


def test_results_show_themselves_and_the_bar_is_full(executed):
    run, results = code(executed)[2:4]
    assert "100 %" in shown(run, "display_data")
    (output,) = results.outputs
    page = output.data["text/html"]
    assert "mIoU, higher is better" in page
    assert "pgd, attacker sees same" in page
    assert 'src="data:image/png;base64,' in page
    assert 'href="runs/notebook/report.html"' in page


def test_it_is_small_and_says_nothing_of_where_it_was_made(kept):
    assert NOTEBOOK.stat().st_size < 400_000
    assert [cell.execution_count for cell in code(kept)] == list(range(1, len(code(kept)) + 1))
    assert "execution" not in {name for cell in kept.cells for name in cell.metadata}
    outputs = [output for cell in code(kept) for output in cell.outputs]
    said = [text for one in outputs for kind, text in one.get("data", {}).items() if "image" not in kind]
    assert not HERE.search(re.sub(r'base64,[^"]*', "", "\n".join(said)))


def test_its_links_lead_somewhere(kept):
    text = "".join(cell.source for cell in kept.cells if cell.cell_type == "markdown")
    for link in re.findall(r"\]\((?!https?:)([^)#\s]+)", text):
        assert (NOTEBOOK.parent / link).exists(), link
