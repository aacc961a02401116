"""Reading a model YAML, in YOLOv5's integer form or in the native form with names, into a ``ModelSpec``."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from regard.errors import RegardError, nearest
from regard.graph.spec import IMAGE, LayerSpec, ModelSpec, SourceLocation

GRAPH_KEYS = ("nc", "depth_multiple", "width_multiple", "anchors", "backbone", "head")
NAME = re.compile(r"[^\W\d][\w.-]*")
"""Names of rows: what needs no quotes in YAML and cannot be taken for an index."""

RESERVED = (IMAGE, "null", "true", "false", "yes", "no", "on", "off")
NUMBER = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")
"""What people mean by 1e-5, which YAML 1.1 takes for a word."""

ROW_KEYS = ("name", "from", "number", "module", "args", "gate")
IGNORED_KEYS = ("ch", "names", "yaml_file")
"""Found in checkpoints and data-bearing YAMLs; they do not describe the graph."""

MOST_CLASSES, MOST_TIMES, MOST_ANCHORS, MOST_REPEATS = 100_000, 100, 100, 1000
"""Beyond what any detector has: a slip of the key there would ask for more memory than there is."""

LineOf = Mapping[tuple[str, int], int]


def read_document(
    text: str,
    file: Path | None,
    *,
    what: str = "not a model file",
    expected: str = "a mapping with backbone and head, or base and insert",
) -> tuple[dict[str, Any], LineOf]:
    """Return the YAML document as plain values, and the line of every item of its top-level lists.

    Args:
        text: the document.
        file: where it is from, for messages.
        what: the message where it is no mapping.
        expected: what it should have been.

    Raises:
        RegardError: not YAML, or not a mapping.
    """
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        _refuse_repeated_keys(node, file)
        document = loader.construct_document(node) if isinstance(node, yaml.MappingNode) else None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        position = getattr(error, "position", len(text))  # of a character that YAML does not allow
        line = mark.line + 1 if mark else text.count("\n", 0, position) + 1
        problem = getattr(error, "problem", None) or str(error)
        raise RegardError(f"not valid YAML: {problem}", file=file, line=line) from error
    if not isinstance(document, dict) or not isinstance(node, yaml.MappingNode):
        raise RegardError(what, file=file, line=1, expected=expected)
    lines = {
        (key.value, i): item.start_mark.line + 1
        for key, value in node.value
        if isinstance(value, yaml.SequenceNode)
        for i, item in enumerate(value.value)
    }
    lines |= {(key.value, -1): key.start_mark.line + 1 for key, _ in node.value}
    _refuse_self_reference(document, file)
    return {str(key): value for key, value in document.items()}, lines


def _refuse_repeated_keys(root: yaml.Node | None, file: Path | None) -> None:
    """Refuse two keys of one name in one mapping: YAML would silently take the second alone."""
    left, known = [root], set[int]()
    while left:
        node = left.pop()
        if id(node) in known:  # by an alias, which may even lead back to itself
            continue
        known.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            left += node.value
        elif isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                left.append(value)
                if isinstance(key, yaml.ScalarNode) and key.value in seen:
                    line = key.start_mark.line + 1
                    raise RegardError(f"{key.value!r} is there twice", file=file, line=line, expected="each key once")
                seen.add(str(key.value))


def _refuse_self_reference(document: Any, file: Path | None) -> None:
    try:
        json.dumps(document, default=str, skipkeys=True)
    except (ValueError, RecursionError) as error:
        raise RegardError("the document contains itself (by & and *)", file=file, line=1) from error


def parse_graph(document: Mapping[str, Any], lines: LineOf, file: Path | None) -> ModelSpec:
    """Turn a model document into a graph whose rows are named; rows without a name get "" (see ``graph.naming``).

    Raises:
        RegardError: a key, a row or a reference is wrong; with file and line.
    """
    for key in document:
        if key not in (*GRAPH_KEYS, *IGNORED_KEYS):
            raise RegardError(
                f"unknown key {key!r}",
                file=file,
                line=lines.get((key, -1)),
                expected="one of " + ", ".join(GRAPH_KEYS),
                hint=nearest(key, GRAPH_KEYS),
            )
    raw: list[tuple[Any, bool, int]] = []
    for section in ("backbone", "head"):
        items = document.get(section)
        if not isinstance(items, list):
            found = "is missing" if items is None else "is not a list"
            raise RegardError(f"{section!r} {found}", file=file, line=lines.get((section, -1)), expected="rows")
        raw += [(item, section == "head", lines.get((section, i), 0)) for i, item in enumerate(items)]
    rows = _resolve([_parse_row(item, head, line, i, file) for i, (item, head, line) in enumerate(raw)], file)
    return ModelSpec(
        layers=tuple(rows),
        nc=parse_number(document, "nc", 80, lines, file, whole=True),
        depth_multiple=parse_number(document, "depth_multiple", 1.0, lines, file),
        width_multiple=parse_number(document, "width_multiple", 1.0, lines, file),
        anchors=parse_anchors(document.get("anchors", 3), lines.get(("anchors", -1)), file),
        file=file,
    )


def parse_number(
    document: Mapping[str, Any], key: str, default: float, lines: LineOf, file: Path | None, *, whole: bool = False
) -> Any:
    """Return the positive number that the document has for ``key``.

    Raises:
        RegardError: it has something else there.
    """
    value = plain_value(document.get(key, default))
    right = isinstance(value, int) or (isinstance(value, float) and not whole)
    most = MOST_CLASSES if whole else MOST_TIMES
    if isinstance(value, bool) or not right or not 0 < value <= most:
        kind = f"a positive {'whole ' if whole else ''}number up to {most}"
        raise RegardError(f"{key} is {value!r}", file=file, line=lines.get((key, -1)), expected=kind)
    return value


def parse_anchors(value: Any, line: int | None, file: Path | None) -> tuple[tuple[float, ...], ...] | int:
    """Return anchors as one tuple of widths and heights a level, or the number of anchors a level.

    Raises:
        RegardError: neither of the two.
    """
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST_ANCHORS:
        return value
    if isinstance(value, list) and value and all(isinstance(level, list) and level for level in value):
        sizes = {len(level) for level in value}
        numbers = all(isinstance(x, int | float) and 0 < x < math.inf for level in value for x in level)
        if numbers and len(sizes) == 1 and sizes.pop() % 2 == 0:
            return tuple(tuple(float(x) for x in level) for level in value)
    raise RegardError(
        f"anchors are {value!r}",
        file=file,
        line=line,
        expected="per level as many positive widths and heights, [w, h, w, h, ...], or their number a level, up to "
        f"{MOST_ANCHORS}",
    )


def _parse_row(
    item: Any, head: bool, line: int, index: int, file: Path | None
) -> tuple[LayerSpec, Sequence[int | str]]:
    """Return the row with empty inputs, and its ``from`` as written."""
    name, fields = "", item
    if isinstance(item, dict) and len(item) == 1 and isinstance(next(iter(item.values())), list):
        name, fields = next(iter(item.items()))
    if isinstance(fields, list) and 3 <= len(fields) <= 4:
        keyed = dict(zip(("from", "number", "module", "args"), fields, strict=False))
    elif isinstance(fields, dict) and "module" in fields:
        keyed = fields
        name = fields.get("name", "")
    else:
        raise RegardError(
            f"this row cannot be read: {item!r}",
            file=file,
            line=line,
            expected="[from, number, module, args], name: [from, number, module, args], or a mapping with module",
        )
    for key in keyed:
        if key not in ROW_KEYS:
            raise RegardError(f"unknown key {key!r} in a row", file=file, line=line, hint=nearest(key, ROW_KEYS))
    sources = keyed.get("from", -1)
    sources = tuple(sources) if isinstance(sources, list) else (sources,)
    number, module, gate = keyed.get("number", 1), keyed["module"], keyed.get("gate")
    if not sources or not all(isinstance(s, int | str) and not isinstance(s, bool) for s in sources):
        raise RegardError(
            f"'from' is {keyed.get('from')!r}", file=file, line=line, expected="an index, a name or a list"
        )
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= MOST_REPEATS:
        expected = f"a whole number from 1 to {MOST_REPEATS}"
        raise RegardError(f"'number' is {number!r}", file=file, line=line, expected=expected)
    if not isinstance(module, str) or not isinstance(name, str) or not isinstance(gate, bool | None):
        raise RegardError(
            f"this row cannot be read: {item!r}", file=file, line=line, expected="module and name as words"
        )
    args, options = parse_args(keyed.get("args", []), file, line)
    row = LayerSpec(name, (), module, number, args, options, gate, head, SourceLocation(line, index, sources, file))
    return row, sources


def parse_args(value: Any, file: Path | None, line: int | None) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return ``args`` as written in a row, as positional arguments and options by name.

    Raises:
        RegardError: neither a list nor a mapping.
    """
    if value is None:
        return (), {}
    if isinstance(value, dict):
        return (), plain_value(value)
    if isinstance(value, list):
        *positional, last = value or [None]
        if isinstance(last, dict):  # options by name after the positions
            return tuple(plain_value(v) for v in positional), plain_value(last)
        return tuple(plain_value(v) for v in value), {}
    raise RegardError(f"'args' is {value!r}", file=file, line=line, expected="a list, a mapping of options, or both")


def plain_value(value: Any) -> Any:
    """Return YAML's value, with Python's bare words as YOLOv5 files write them."""
    if isinstance(value, list | tuple):
        return tuple(plain_value(v) for v in value)
    if isinstance(value, Mapping):
        return {str(k): plain_value(v) for k, v in value.items()}
    if isinstance(value, str) and NUMBER.fullmatch(value):
        return float(value)
    return {"None": None, "True": True, "False": False}.get(value, value) if isinstance(value, str) else value


def _resolve(parsed: list[tuple[LayerSpec, Sequence[int | str]]], file: Path | None) -> list[LayerSpec]:
    """Replace every reference by the name of the row it means; unnamed rows stand in as ``#index`` for now."""
    names = [row.name or f"#{i}" for i, (row, _) in enumerate(parsed)]
    rows: list[LayerSpec] = []
    for i, (row, sources) in enumerate(parsed):
        if row.name:
            check_name(row.name, names[:i], file, row.line)
        inputs = tuple(_resolve_one(source, i, names, row.line, file) for source in sources)
        rows.append(
            LayerSpec(names[i], inputs, row.module, row.number, row.args, row.options, row.gate, row.head, row.origin)
        )
    return rows


def check_name(name: str, taken: Sequence[str], file: Path | None = None, line: int | None = None) -> None:
    """Check that a row may be called ``name``.

    Raises:
        RegardError: it is taken, or no plain word.
    """
    if not NAME.fullmatch(name) or name.lower() in RESERVED:
        raise RegardError(
            f"{name!r} cannot be the name of a layer",
            file=file,
            line=line,
            expected="a letter, then letters, digits, '_', '-' or '.'",
        )
    if name in taken:
        raise RegardError(f"a layer is called {name!r} already", file=file, line=line)


def _resolve_one(source: int | str, i: int, names: list[str], line: int | None, file: Path | None) -> str:
    if isinstance(source, int):
        target = i + source if source < 0 else source
        if target == -1 and i == 0:
            return IMAGE
        if not 0 <= target < i:
            raise RegardError(
                f"row {i} reads row {source}, which is not before it",
                file=file,
                line=line,
                expected=f"-1 to -{i}, or 0 to {i - 1}" if i else "-1, the image",
            )
        return names[target]
    if source == IMAGE or source in names[:i]:
        return source
    known = [name for name in names[:i] if not name.startswith("#")]
    raise RegardError(
        f"row {i} reads {source!r}, which is not before it", file=file, line=line, hint=nearest(source, known)
    )
