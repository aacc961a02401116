"""Names in the code are the field's terms: former private words do not come back."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "regard"
FORMER = {
    "finder": "predictor",
    "prepared": "compiled",
    "nursery": "fork server",
    "outlook": "power analysis",
    "seeing": "visualize",
    "costing": "profiling",
    "replacing": "atomic_write",
    "suppressed": "with_nms",
    "suppression": "nms",
    "blame": "diagnose",
    "miswiring": "wiring_error",
    "placement": "letterbox_transform",
    "positives": "assignment",
    "retarget": "replace_classes",
    "refilled": "load_matching",
    "unmixed": "with_watched_mixing",
    "normaliser": "score_activation",
}
"""Words that were names, and the terms of the field; see also the deprecated public names."""
ALLOWED = {
    "placement": "how Ray places the runs of a study on its nodes",
    "positions": "an option's former name, still understood with a warning",
}


def names_in(file: Path) -> set[str]:
    """All classes, functions, arguments and modules that a file defines or imports from the package."""
    names = {file.stem}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
    return names


def words_of(name: str) -> set[str]:
    """Split a name in snake case or camel case into lower-case words."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


@pytest.mark.parametrize("file", sorted(SOURCE.rglob("*.py")), ids=lambda file: str(file.relative_to(SOURCE)))
def test_names_are_terms_of_the_field(file: Path) -> None:
    former = {
        f"{name}: {FORMER[word]}" for name in names_in(file) for word in words_of(name) & FORMER.keys() - ALLOWED.keys()
    }
    assert not former


def resolves(dotted: str) -> bool:
    """Whether a dotted name is that of a module, or of what is in one."""
    parent, _, name = dotted.rpartition(".")
    try:
        importlib.import_module(dotted)
    except ModuleNotFoundError:
        return bool(parent) and resolves(parent) and hasattr(pkgutil.resolve_name(parent), name)
    return True


def test_what_docstrings_refer_to_exists() -> None:
    references = {
        (str(file.relative_to(SOURCE)), found[1])
        for file in sorted(SOURCE.rglob("*.py"))
        for found in re.finditer(r"`(regard(?:\.\w+)+)(?:\(\))?`", file.read_text(encoding="utf-8"))
    }
    assert len(references) > 20
    assert [(file, name) for file, name in sorted(references) if not resolves(name)] == []


@pytest.mark.parametrize("file", sorted(SOURCE.rglob("*.py")), ids=lambda file: str(file.relative_to(SOURCE)))
def test_docstrings_say_what_a_function_does(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            text = ast.get_docstring(node) or ""
            assert not text.startswith(("Return ", "Returns ")), f"{node.name}: {text.splitlines()[0]}"
