"""The code blocks of a page, and how each is run."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from dds.__main__ import main
from dds.cli import evaluate
from dds.training import train

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

_FENCE = re.compile(r"( *)(```+)(\{?[\w-]*)")
_MARK = re.compile(r" *<!-- (not run|planned|before):\s+(.+?)\s*-->", re.DOTALL)
_FILE = re.compile(r"# (\S+\.(?:py|yaml|json|csv))\n")


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        language: As the page says it.
        text: Its lines.
        line: Where it begins.
        mark: What the comment above it says: `not run: <why>`, `planned: <why>` (commands get `--plan`), or
            `before: <python>`, which is run and not shown; empty where there is none.
        why: What follows the mark.
    """

    language: str
    text: str
    line: int
    mark: str = ""
    why: str = ""


def blocks(page: str) -> Iterator[Block]:
    """Return the blocks of a page in Markdown, in order; directives in braces are none."""
    mark, lines, at = ("", ""), page.split("\n"), 0
    while at < len(lines):
        fence, start = _FENCE.match(lines[at]), at
        at += 1
        if fence:
            indent, ticks, language = fence.groups()
            while lines[at].strip() != ticks:
                at += 1
            text = "".join(f"{one.removeprefix(indent)}\n" for one in lines[start + 1 : at])
            at += 1
            if not language.startswith("{"):
                yield Block(language, text, start + 1, *mark)
            mark = ("", "")
        elif lines[start].lstrip().startswith("<!-- "):
            while "-->" not in lines[at - 1]:
                at += 1
            found = _MARK.fullmatch("\n".join(lines[start:at]))
            mark = (found[1], found[2].strip("\n")) if found else mark
            if mark[0] == "before":
                yield Block("python", mark[1], start + 1)
                mark = ("", "")
        elif lines[start].strip():
            mark = ("", "")


def run(block: Block, names: dict[str, object]) -> None:
    """Run a block in the working folder, as a reader would; `names` are what Python blocks have defined."""
    named = _FILE.match(block.text)
    if block.mark == "not run":
        return
    if named:
        Path(named[1]).parent.mkdir(parents=True, exist_ok=True)
        Path(named[1]).write_text(block.text)
    elif block.language == "python":
        exec(compile(block.text, f"<line {block.line}>", "exec"), names)
    elif block.language == "bash":
        for command in commands(block.text):
            _run(command + ["--plan"] * (block.mark == "planned"))
    elif block.language == "yaml":
        assert yaml.safe_load(block.text) is not None


def commands(text: str) -> list[list[str]]:
    """Return the words of each command of a shell's lines."""
    lines = text.replace("\\\n", " ").splitlines()
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def _run(words: list[str]) -> None:
    programs = {("python", "evaluate.py"): evaluate, ("python", "train.py"): train, ("dds",): main}
    for started, program in programs.items():
        if tuple(words[: len(started)]) == started:
            return program(words[len(started) :])
    words = [sys.executable, *words[1:]] if words[0] == "python" else words
    subprocess.run(words, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    return None
