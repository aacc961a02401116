"""Imports point down only, as docs/architecture.md says, and form no cycle within a room; files stay short."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
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


METHODS_OF_VALUES = {
    ("regard.graph.spec", "regard.graph.dialects.native"),
    ("regard.graph.spec", "regard.graph.dialects.yolov5"),
    ("regard.graph.detector", "regard.graph.summary"),
    ("regard.visualize.attend", "regard.visualize.attention_figure"),
}
"""Methods that offer on a value what a module above computes (``spec.to_yaml()``); they import it when called."""


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


def name_of(file: Path) -> str:
    parts = file.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): file for file in sorted(SOURCE.rglob("*.py"))}


def imported_modules(node: ast.AST) -> Iterator[str]:
    """All modules of the package that are imported, in functions too, but not for type checkers alone."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return
    if isinstance(node, ast.ImportFrom):
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            yield inner if inner in MODULES else node.module or ""
    for child in ast.iter_child_nodes(node):
        yield from imported_modules(child)


def test_no_two_modules_import_each_other_in_however_many_steps() -> None:
    graph = {
        name: {
            other
            for other in imported_modules(ast.parse(file.read_text(encoding="utf-8")))
            if other in MODULES and other not in (name, "regard") and (name, other) not in METHODS_OF_VALUES
        }
        for name, file in MODULES.items()
    }
    assert len(list(TopologicalSorter(graph).static_order())) == len(MODULES)  # else CycleError


@pytest.mark.parametrize("file", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_file_has_at_most_400_lines(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 400


def test_data_knows_neither_layers_nor_graphs() -> None:
    for file in (SOURCE / "data").rglob("*.py"):
        assert not imported_rooms(file) & {"nn", "graph"}, file


def test_no_two_test_files_share_a_name() -> None:
    """Without packages in tests/, pytest imports the second of two such files as the first, and rejects to run it."""
    names = [file.name for file in Path(__file__).parent.rglob("test_*.py")]
    assert len(names) == len(set(names)), sorted({name for name in names if names.count(name) > 1})
