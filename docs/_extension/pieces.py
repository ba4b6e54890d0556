"""What the reference takes from the code itself: YAMLs of classes, the help of commands, the configs."""

import contextlib
import inspect
import io
import os
import re
from collections.abc import Iterator
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from lightning import LightningModule
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from dds.__main__ import main
from dds.attacks import Attack, Objective
from dds.command_line import CONFIGS
from dds.controls import Control
from dds.data import BaseDataModule
from dds.purifiers import Purifier

_ROOMS = ("dds.attacks", "dds.controls", "dds.data", "dds.purifiers", "dds.tasks")
_NAMED = (Attack, Objective, Control, BaseDataModule, Purifier, LightningModule)
"""What YAMLs name, with all that derives from it."""

_REQUIRED = "…"
_NEED = re.compile(r"#   (\S+) {2,}\S")  # a thing that has to be there, and where it comes from


class Usage(SphinxDirective):
    """`{usage} certify`: what `dds certify --help` prints."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return it as a literal block."""
        said, columns = io.StringIO(), os.environ.get("COLUMNS")
        os.environ["COLUMNS"] = "110"
        try:
            with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
                main([*self.arguments, "--help"])
        finally:
            os.environ.pop("COLUMNS") if columns is None else os.environ.update(COLUMNS=columns)
        block = nodes.literal_block("", said.getvalue().rstrip())
        block["language"] = "text"
        return [block]


class Configs(SphinxDirective):
    """`{configs}`: a line for each YAML that comes with the package, from its first comment."""

    def run(self) -> list[nodes.Node]:
        """Return them as a table."""
        rows = [
            f"| `{path.relative_to(CONFIGS)}` | {' | '.join(map(_cell, _comment(path)))} |"
            for path in sorted(CONFIGS.rglob("*.yaml"))
        ]
        return self.parse_text_to_nodes(
            "\n".join(["| config | what it is | needs |", "| --- | --- | --- |", *rows])
        )


def _comment(path: Path) -> tuple[str, str]:
    """Return what a YAML's first comment says of it, and the things that it says it needs."""
    comment = list(takewhile(lambda line: line.startswith("#"), path.read_text().splitlines()))
    what = takewhile(lambda line: not line.startswith("#   "), comment)
    needs = filter(None, map(_NEED.match, comment))
    return " ".join(line.removeprefix("#").strip() for line in what), ", ".join(one[1] for one in needs)


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("<", r"\<").replace("*", r"\*").replace("_", r"\_")


def add_yaml(app: Sphinx, what: str, name: str, it: Any, options: Any, lines: list[str]) -> None:
    """Append to a class that YAMLs name how they do, with all settings at their defaults."""
    if what != "class" or not issubclass(it, _NAMED) or inspect.isabstract(it):
        return
    shown = yaml.safe_dump(_named(it), sort_keys=False, allow_unicode=True, width=90)
    lines += ["", ".. code-block:: yaml", "", *(f"   {line}" for line in shown.splitlines()), ""]


def public_bases(app: Sphinx, name: str, it: type, options: Any, bases: list[type]) -> None:
    """Leave out bases that are nobody's to name: what shared code a class has."""
    bases[:] = list(filter(_is_public, bases)) or [object]


def _is_public(it: type) -> bool:
    elsewhere = not it.__module__.startswith("dds.")
    return elsewhere or any(getattr(import_module(room), it.__name__, None) is it for room in _ROOMS)


def _named(it: type) -> dict[str, Any]:
    settings = dict(_settings(it))
    return {"class_path": it.__name__} | ({"init_args": settings} if settings else {})


def _settings(it: type) -> Iterator[tuple[str, Any]]:
    for name, parameter in inspect.signature(it).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        default = _REQUIRED if parameter.default is parameter.empty else parameter.default
        if isinstance(default, str | int | float | bool | list | tuple | dict | None):
            yield name, list(default) if isinstance(default, tuple) else default


def setup(app: Sphinx) -> dict[str, bool]:
    """Register what this adds."""
    app.add_directive("usage", Usage)
    app.add_directive("configs", Configs)
    app.connect("autodoc-process-docstring", add_yaml)
    app.connect("autodoc-process-bases", public_bases)
    return {"parallel_read_safe": True}
