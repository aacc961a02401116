"""Imports point down only, as docs/architecture.md says, and form no cycle within a room; files stay short.

What only type checkers import counts for the rooms, but forms no cycle: a value whose method calls a function below it
is named in that function's signature.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "regard"
LEVELS = (
    ("__main__",),
    ("cli",),
    ("studio",),
    ("companions", "demo", "publish"),
    ("ablate",),
    ("api",),
    ("diagnosis",),
    ("training",),
    ("runtimes",),
    ("prediction",),
    ("visualize",),
    ("evaluation",),
    ("profiling", "data", "weights"),
    ("graph",),
    ("nn",),
    ("config", "geometry", "types", "detections"),
    ("drawing",),
    ("lettering",),
    ("system",),
    ("errors",),
)
LEVEL = {room: i for i, rooms in enumerate(LEVELS) for room in rooms}
FILES = sorted(p for p in SOURCE.rglob("*.py") if p.parent != SOURCE or p.stem != "__init__")


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "regard" and len(parts) > 1 else None


METHODS_OF_VALUES = {
    ("regard.graph.spec", "regard.graph.dialects.native"),
    ("regard.graph.spec", "regard.graph.dialects.ultralytics"),
    ("regard.graph.spec", "regard.graph.dialects.ultralytics"),
    ("regard.graph.spec", "regard.graph.dialects.yolov5"),
    ("regard.ablate.folder", "regard.ablate.format"),
}
"""A study in a notebook, whose verdicts are written as everywhere; ``spec.to_yaml()`` and ``spec.to_yolov5_yaml()``,
which import what writes a graph when they are called: each form of YAML is read and written in one file, and reading it
makes specs."""


def name_of(file: Path) -> str:
    parts = file.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): file for file in sorted(SOURCE.rglob("*.py"))}


def imports(node: ast.AST, package: str, *, for_types: bool) -> Iterator[str]:
    """All modules of the package that are imported, in whatever form and in functions too.

    Args:
        node: the tree of a file.
        package: what relative imports in it are relative to.
        for_types: include imports that only type checkers see.
    """
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and not for_types:
        for child in node.orelse:
            yield from imports(child, package, for_types=for_types)
        return
    if isinstance(node, ast.ImportFrom):
        base = ".".join(filter(None, [*package.split(".")[: len(package.split(".")) + 1 - node.level], node.module]))
        base = base if node.level else node.module or ""
        yield from (f"{base}.{a.name}" if f"{base}.{a.name}" in MODULES else base for a in node.names)
    elif isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
        yield from (resolve_name(a.value, package) for a in node.args[:1] if isinstance(a, ast.Constant))
    for child in ast.iter_child_nodes(node):
        yield from imports(child, package, for_types=for_types)


def imported(file: Path, *, for_types: bool) -> set[str]:
    name = name_of(file)
    package = name if file.stem == "__init__" else name.rpartition(".")[0]
    found = imports(ast.parse(file.read_text(encoding="utf-8")), package, for_types=for_types)
    return {module for module in found if module.split(".")[0] == "regard"}


def imported_rooms(file: Path) -> set[str]:
    return {room for module in imported(file, for_types=True) if (room := room_of(module))}


@pytest.mark.parametrize(
    ("line", "module"),
    [
        ("import regard.cli.use", "regard.cli.use"),
        ("import numpy, regard.cli.use as use", "regard.cli.use"),
        ("from regard.cli import use", "regard.cli.use"),
        ("from regard.cli.use import val, predict", "regard.cli.use"),
        ("from regard import cli", "regard.cli"),
        ("from . import spec", "regard.graph.spec"),
        ("from .spec import IMAGE", "regard.graph.spec"),
        ("from ..cli import use", "regard.cli.use"),
        ("from .. import cli", "regard.cli"),
        ("from ..cli.use import val", "regard.cli.use"),
        ("import importlib\nimportlib.import_module('regard.cli.use')", "regard.cli.use"),
        ("import_module('..cli.use', __package__)", "regard.cli.use"),
        ("__import__('regard.cli.use')", "regard.cli.use"),
        ("def f():\n    class A:\n        x = lambda: __import__('regard.cli')", "regard.cli"),
        ("if TYPE_CHECKING:\n    pass\nelse:\n    import regard.cli", "regard.cli"),
    ],
)
def test_every_form_of_import_is_seen(line: str, module: str) -> None:
    found = set(imports(ast.parse(line), "regard.graph", for_types=False))
    assert {name for name in found if name.startswith("regard")} == {module}


def test_what_only_type_checkers_see_is_told_apart() -> None:
    tree = ast.parse("if TYPE_CHECKING:\n    import regard.cli")
    assert list(imports(tree, "regard.graph", for_types=True)) == ["regard.cli"]
    assert list(imports(tree, "regard.graph", for_types=False)) == []


@pytest.mark.parametrize("file", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_room_imports_only_rooms_below_it(file: Path) -> None:
    relative = file.relative_to(SOURCE)
    own = relative.parts[0].removesuffix(".py")
    for room in imported_rooms(file) - {own, "__version__"}:
        assert LEVEL[room] >= LEVEL[own], f"{relative} imports regard.{room}, which lies above it"


def test_no_two_modules_import_each_other_in_however_many_steps() -> None:
    graph = {
        name: {
            other
            for other in imported(file, for_types=False)
            if other in MODULES and other not in (name, "regard") and (name, other) not in METHODS_OF_VALUES
        }
        for name, file in MODULES.items()
    }
    assert len(list(TopologicalSorter(graph).static_order())) == len(MODULES)  # else CycleError


def test_every_exception_is_needed() -> None:
    for name, other in METHODS_OF_VALUES:
        assert other in imported(MODULES[name], for_types=False)
        assert name in imported(MODULES[other], for_types=False)


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
