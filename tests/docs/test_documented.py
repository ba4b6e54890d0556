"""The reference names all that there is."""

import importlib

import pytest
from docs.pages import ROOT

from dds.cli import COMMANDS

REFERENCE = "".join(path.read_text() for path in sorted((ROOT / "docs" / "reference").glob("*.md")))


@pytest.mark.parametrize(
    "room",
    [
        "dds.attacks",
        "dds.certificates",
        "dds.controls",
        "dds.data",
        "dds.models",
        "dds.purifiers",
        "dds.tasks",
    ],
)
def test_every_public_class_has_its_place(room):
    for name in set(importlib.import_module(room).__all__) - {"Way"}:  # a type's other name
        assert f":: {room}.{name}\n" in REFERENCE, name


@pytest.mark.parametrize("command", ["evaluate", "train", *COMMANDS])
def test_every_command_shows_its_help(command):
    assert f"```{{usage}} {command}\n" in REFERENCE
