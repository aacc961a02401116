"""The texts that an expression of the code can be: templates, and the texts that are put into them.

``f"this is {look_of(head)}"`` is the template "this is {0}", and what `look_of` returns are texts that are shown inside
it. Both need a translation, or a sentence is half of one language and half of another. Values are followed through
names, conditions, tables, loops and functions of the same file, and functions that it imports from the package.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

Known: TypeAlias = Mapping[str, list[ast.expr]]
DEEPEST = 4
"""Names that stand for names."""
NO_NAMES: Known = MappingProxyType({})
PARTS = {"what", "expected", "hint"}
"""Keywords and parameters of messages."""
KEPT = {"file", "folder", "path", "place", "source", "url", "name", "stem", "layer", "model"}
"""Names of variables and attributes that are paths, or names of something of the user."""
OF_PATHS = {"resolve", "absolute", "as_posix", "with_suffix", "relative_to"}


def named_texts(file: Path, package: Path) -> Known:
    """Map the names of a file to what they are assigned, and functions, also imported ones, to what they return.

    Args:
        file: a file of the package.
        package: its top folder, whose name imports begin with.
    """
    known = {name: list(values) for name, values in _own_names(file).items()}
    for node in ast.walk(parsed(file)):
        if not (isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(f"{package.name}.")):
            continue
        source = package.joinpath(*node.module.split(".")[1:]).with_suffix(".py")
        names = _own_names(source) if source.is_file() else NO_NAMES
        for one in node.names:
            for ending in ("", "()"):
                if found := names.get(one.name + ending):
                    known.setdefault((one.asname or one.name) + ending, []).extend(found)
    return known


@cache
def parsed(file: Path) -> ast.Module:
    """Parse a file of Python, once."""
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def _own_names(file: Path) -> Known:
    known: dict[str, list[ast.expr]] = {}
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            known.setdefault(node.targets[0].id, []).append(node.value)
        elif isinstance(node, ast.AugAssign | ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            known.setdefault(node.target.id, []).append(node.value)
        elif isinstance(node, ast.For | ast.comprehension):
            for one in ast.walk(node.target):
                if isinstance(one, ast.Name):
                    known.setdefault(one.id, []).append(node.iter)
        elif isinstance(node, ast.FunctionDef):
            returned = [one.value for one in ast.walk(node) if isinstance(one, ast.Return) and one.value]
            known.setdefault(f"{node.name}()", []).extend(returned)
    return known


def defaults(function: ast.FunctionDef) -> Iterator[ast.expr]:
    """Yield the defaults of the parameters of a function that are parts of a message."""
    spec = function.args
    plain = [*spec.posonlyargs, *spec.args]
    pairs = [*zip(plain[len(plain) - len(spec.defaults) :], spec.defaults, strict=True)]
    pairs += [(name, value) for name, value in zip(spec.kwonlyargs, spec.kw_defaults, strict=True) if value]
    yield from (value for name, value in pairs if name.arg in PARTS)


def templates(node: ast.expr, known: Known = NO_NAMES, depth: int = 0) -> Iterator[str]:
    """Yield the texts that an expression can be, with {0}, {1}, ... for values, and those that such values can be."""
    if isinstance(node, ast.IfExp):
        yield from (text for part in (node.body, node.orelse) for text in templates(part, known, depth))
    elif isinstance(node, ast.BoolOp):
        yield from (text for part in node.values for text in templates(part, known, depth))
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr | ast.BinOp):
        parts = list(_parts(node))
        if any(isinstance(part, str) for part in parts) and ": {0}" not in parts:
            count = itertools.count()
            yield "".join(part if isinstance(part, str) else f"{{{next(count)}}}" for part in parts)
        yield from (
            text
            for part in parts
            if isinstance(part, ast.expr) and part is not node
            for text in _inside(part, known, depth)
        )
    elif depth < DEEPEST and (name := _name_of(node)):
        yield from (text for value in known.get(name, ()) for text in templates(value, known, depth + 1))


def _inside(node: ast.expr, known: Known, depth: int) -> Iterator[str]:
    """Yield the texts that a value of a template can be: phrases, and the word for nothing."""
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
        last = node.values[-1]
        if isinstance(last, ast.Constant) and isinstance(last.value, str) and last.value.isalpha():
            yield last.value
    yield from (text for text in templates(node, known, depth) if " " in text)
    for table in _tables(node, known, depth):
        yield from (text for value in table for text in _inside(value, known, depth + 1))


def _tables(node: ast.expr, known: Known, depth: int) -> Iterator[list[ast.expr]]:
    """Yield the values of the tables, tuples and lists that an expression selects from or names."""
    if isinstance(node, ast.Subscript):
        yield from _tables(node.value, known, depth)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("get", "join"):
        yield [*node.args[1:]] if node.func.attr == "get" else [*node.args]
        yield from _tables(node.func.value, known, depth)
    elif isinstance(node, ast.Dict):
        yield node.values
    elif isinstance(node, ast.Tuple | ast.List):
        yield node.elts
    elif isinstance(node, ast.GeneratorExp | ast.ListComp):
        yield [node.elt]
    elif isinstance(node, ast.IfExp):
        yield from (*_tables(node.body, known, depth), *_tables(node.orelse, known, depth))
    elif isinstance(node, ast.Call) and _name_of(node) == "MappingProxyType()":
        yield from _tables(node.args[0], known, depth)
    elif depth < DEEPEST and (name := _name_of(node)):
        for value in known.get(name, ()):
            yield from _tables(value, known, depth + 1)


def kept_values(package: Path) -> dict[str, set[int]]:
    """Find the values of templates that are paths or names wherever the code fills them: no language changes these.

    Args:
        package: its top folder.

    Returns:
        The numbers of such values by template.
    """
    found: dict[str, dict[int, bool]] = {}
    for file in package.rglob("*.py"):
        for node in ast.walk(parsed(file)):
            if isinstance(node, ast.JoinedStr | ast.BinOp):
                parts = list(_parts(node))
                values = [part for part in parts if not isinstance(part, str)]
                numbers = itertools.count()
                text = "".join(part if isinstance(part, str) else f"{{{next(numbers)}}}" for part in parts)
                for template in {text, text.strip(), text.strip().removeprefix(", ").removeprefix("; ")}:
                    known = found.setdefault(template, {})
                    for number, value in enumerate(values):
                        known[number] = known.get(number, True) and _last_name(value) in KEPT
    return {template: {number for number, kept in values.items() if kept} for template, values in found.items()}


def with_kept(translation: str, kept: Collection[int]) -> str:
    """Mark values in a translation as such that are not translated.

    Example:
        >>> with_kept("{1} in {0}", {0})
        '{1} in {0=}'
    """
    for number in kept:
        translation = translation.replace(f"{{{number}}}", f"{{{number}=}}")
    return translation


def _last_name(node: ast.expr) -> str:
    """The name that says what a value is: ``folder`` of ``run.folder`` and of ``str(run.folder.resolve())``."""
    while True:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "str" and node.args:
            node = node.args[0]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in OF_PATHS:
            node = node.func.value
        elif isinstance(node, ast.Attribute):
            return node.attr
        else:
            return node.id if isinstance(node, ast.Name) else ""


def _parts(node: ast.expr) -> Iterator[str | ast.expr]:
    """Split f-strings and sums of texts into their fixed texts and their values."""
    if isinstance(node, ast.JoinedStr):
        for part in node.values:
            yield str(part.value) if isinstance(part, ast.Constant) else part.value  # type: ignore[attr-defined]
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield from (*_parts(node.left), *_parts(node.right))
    else:
        yield node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else node


def _name_of(node: ast.expr) -> str:
    """Name of what an expression is: a variable, or a function or method, with parentheses, that returns it."""
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
            return f"{node.func.attr}()" if node.func.value.id == "self" else ""
        return f"{node.func.id}()" if isinstance(node.func, ast.Name) else ""
    return node.id if isinstance(node, ast.Name) else ""
