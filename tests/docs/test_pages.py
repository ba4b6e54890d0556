"""What README and docs show is true: blocks of code run, YAMLs and links exist."""

import re
import sys
from pathlib import Path

import pytest
from docs.pages import PAGES, ROOT, Block, blocks, commands, run

from dds.command_line import CONFIGS


def name_of(page):
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_of_code_runs_or_says_why_not(page, tmp_path, monkeypatch):
    """In order and in one folder, files that a block names included, as a reader would."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    before, names = set(sys.modules), {"__name__": "__main__"}
    try:
        for block in blocks(page.read_text()):
            try:
                run(block, names)
            except (Exception, SystemExit) as error:
                if getattr(error, "code", 1):
                    pytest.fail(f"{name_of(page)}, line {block.line}: {error!r}\n{block.text}")
    finally:
        for module in set(sys.modules) - before:
            if (getattr(sys.modules[module], "__file__", None) or "").startswith(str(tmp_path)):
                del sys.modules[module]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_yaml_that_is_named_exists(page):
    text = page.read_text()
    own = set(re.findall(r"^\s*# (\S+\.yaml)$", text, re.MULTILINE))
    for name in re.findall(r"--config[= ]([\w/]+(?:\.yaml)?)(?=[`\s])", text):
        found = CONFIGS / (name if name.endswith(".yaml") else f"{name}.yaml")
        assert name in own or found.is_file(), name


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_within_the_project_lead_somewhere(page):
    for link in re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", page.read_text()):
        assert (page.parent / link).exists(), link


def test_blocks_are_found_with_what_is_said_of_them():
    page = (
        "Text.\n\n```bash\nls  # here\n```\n\n<!-- not run: needs a GPU -->\n```bash\ntorchrun x\n```\n\n"
        "<!-- before: a = 1\nb = 2 -->\n\n```{note}\nNo code.\n```\n\n"
        "- in a list\n\n  ```python\n  a + b\n  ```\n"
    )
    assert list(blocks(page)) == [
        Block("bash", "ls  # here\n", 3),
        Block("bash", "torchrun x\n", 8, "not run", "needs a GPU"),
        Block("python", "a = 1\nb = 2", 12),
        Block("python", "a + b\n", 21),
    ]


def test_commands_go_over_lines_and_leave_out_comments():
    assert commands("# first\ndds evaluate \\\n  --plan  # shows\n\nls") == [
        ["dds", "evaluate", "--plan"],
        ["ls"],
    ]


def test_a_block_with_the_name_of_a_file_is_written_to_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(Block("python", "# sub/mine.py\nx = 1\n", 1), {})
    assert Path("sub/mine.py").read_text() == "# sub/mine.py\nx = 1\n"


def test_a_block_that_fails_fails():
    with pytest.raises(ZeroDivisionError):
        run(Block("python", "1 / 0\n", 1), {})
    with pytest.raises(SystemExit):
        run(Block("bash", "dds nothing\n", 1), {})
