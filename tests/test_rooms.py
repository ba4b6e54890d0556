"""The order of the rooms: none imports one above it, so that each can be read without those."""

import ast
from collections.abc import Iterator
from pathlib import Path

import dds

PACKAGE = Path(dds.__file__).parent

ROOMS = (
    ("cli", "training"),
    ("options",),
    ("folders", "cluster"),
    ("evaluation",),
    ("loggers",),
    ("reports",),
    ("results",),
    ("runs", "trainer"),
    ("callbacks", "command_line"),
    ("protocol", "store"),
    ("controls", "attacks"),
    ("tasks",),
    ("purifiers", "metrics", "data", "certificates"),
    ("models",),
    (
        "batch",
        "noise",
        "numbers",
        "streams",
        "telling",
        "threads",
        "coco_ids",
        "storage",
        "fingerprints",
        "whole_file",
    ),
    ("errors",),
)
"""From the top down; rooms of one line do not import each other."""

HEIGHTS = {room: -height for height, rooms in enumerate(ROOMS) for room in rooms}


def imported_rooms(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield from (
                (f"dds.{alias.name}" for alias in node.names) if node.module == "dds" else (node.module,)
            )
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_no_room_imports_one_above_or_beside_it():
    upwards = []
    for path in PACKAGE.rglob("*.py"):
        here = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if here in ("__init__", "__main__"):
            continue
        for module in imported_rooms(path):
            name, _, rest = module.partition(".")
            there = rest.partition(".")[0]
            if name == "dds" and there != here and HEIGHTS[there] >= HEIGHTS[here]:
                upwards.append(f"{path.relative_to(PACKAGE)} imports {module}")
    assert not upwards


def test_every_room_has_its_place():
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix in ("", ".py")}
    assert set(HEIGHTS) == rooms - {"__init__", "__main__", "__pycache__"}
