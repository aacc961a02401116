"""Imports point down only, as docs/architecture.md says."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "regard"
LEVELS = (
    ("__main__",),
    ("cli",),
    ("demo",),
    ("ablate",),
    ("api",),
    ("training",),
    ("runtimes",),
    ("prediction",),
    ("visualize",),
    ("evaluation",),
    ("profiling", "data", "weights"),
    ("graph",),
    ("nn",),
    ("config", "geometry"),
    ("types",),
    ("system",),
    ("errors",),
)
LEVEL = {room: i for i, rooms in enumerate(LEVELS) for room in rooms}
FILES = sorted(p for p in SOURCE.rglob("*.py") if p.parent != SOURCE or p.stem != "__init__")


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "regard" and len(parts) > 1 else None


def imported_rooms(file: Path) -> set[str]:
    rooms: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"regard.{a.name}" for a in node.names] if node.module == "regard" else [node.module]
            rooms |= {room for name in names if (room := room_of(name))}
        elif isinstance(node, ast.Import):
            rooms |= {room for a in node.names if (room := room_of(a.name))}
    return rooms


@pytest.mark.parametrize("file", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_room_imports_only_rooms_below_it(file: Path) -> None:
    relative = file.relative_to(SOURCE)
    own = relative.parts[0].removesuffix(".py")
    for room in imported_rooms(file) - {own, "__version__"}:
        assert LEVEL[room] >= LEVEL[own], f"{relative} imports regard.{room}, which lies above it"


def test_data_knows_neither_layers_nor_graphs() -> None:
    for file in (SOURCE / "data").rglob("*.py"):
        assert not imported_rooms(file) & {"nn", "graph"}, file


def test_no_two_test_files_share_a_name() -> None:
    """Without packages in tests/, pytest imports the second of two such files as the first, and refuses to run it."""
    names = [file.name for file in Path(__file__).parent.rglob("test_*.py")]
    assert len(names) == len(set(names)), sorted({name for name in names if names.count(name) > 1})
