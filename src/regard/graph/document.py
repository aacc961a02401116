"""YAML documents that describe models: reading them with line numbers, checking and writing their values.

Model files are untrusted: `regard.system.loaders` reads plain values only, and documents that ask for absurdly large
networks are rejected here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from regard.errors import RegardError
from regard.system.loaders import LineOf, parse_yaml

NUMBER = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")
"""Numbers such as 1e-5, which YAML 1.1 reads as text."""

MOST_CLASSES, MOST_TIMES, MOST_ANCHORS, MOST_REPEATS = 100_000, 100, 100, 1000
MOST_ROWS, MOST_SOURCES = 2000, 200
"""Limits beyond any real detector; a typing error above them would ask for more memory than there is."""


def read_document(
    text: str,
    file: Path | None,
    *,
    what: str = "not a model file",
    expected: str = "a mapping with backbone and head, or base and insert",
) -> tuple[dict[str, Any], LineOf]:
    """Parse a YAML document into plain values, and find the line of every item of its top-level lists.

    Args:
        text: the document.
        file: the file that it comes from, for error messages.
        what: the error message if the document is not a mapping.
        expected: what was expected instead, for the same message.

    Raises:
        RegardError: the text is not YAML, or not a mapping, or repeats a key, or contains itself.

    Example:
        >>> values, lines = read_document("nc: 2\\nhead:\\n- [a]\\n- [b]", None)
        >>> values["nc"], lines["head", 1], lines["nc", -1]
        (2, 4, 1)
    """
    document, lines = parse_yaml(text, file)
    if not isinstance(document, dict):
        raise RegardError(what, file=file, line=1, expected=expected)
    return {str(key): value for key, value in document.items()}, lines


def parse_number(
    document: Mapping[str, Any], key: str, default: float, lines: LineOf, file: Path | None, *, whole: bool = False
) -> Any:
    """Read the positive number under ``key``.

    Raises:
        RegardError: the value is not a positive number, or absurdly large.
    """
    value = plain_value(document.get(key, default))
    right = isinstance(value, int) or (isinstance(value, float) and not whole)
    most = MOST_CLASSES if whole else MOST_TIMES
    if isinstance(value, bool) or not right or not 0 < value <= most:
        kind = f"a positive {'whole ' if whole else ''}number up to {most}"
        raise RegardError(f"{key} is {value!r}", file=file, line=lines.get((key, -1)), expected=kind)
    return value


def parse_anchors(value: Any, line: int | None, file: Path | None) -> tuple[tuple[float, ...], ...] | int:
    """Read anchors: a flat tuple of widths and heights per level, or the number of anchors per level.

    Raises:
        RegardError: the value is neither of the two.
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
        expected="equally many positive widths and heights per level, [w, h, w, h, ...], or their number, up to "
        f"{MOST_ANCHORS}",
    )


def parse_args(value: Any, file: Path | None, line: int | None) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Split the ``args`` of a layer into positional arguments and options by name.

    Raises:
        RegardError: the value is neither a list nor a mapping.

    Example:
        >>> parse_args([64, 3, {"act": False}], None, None)
        ((64, 3), {'act': False})
    """
    if value is None:
        return (), {}
    if isinstance(value, dict):
        return (), plain_value(value)
    if isinstance(value, list):
        *positional, last = value or [None]
        if isinstance(last, dict):  # options by name after the positional arguments
            return tuple(plain_value(v) for v in positional), plain_value(last)
        return tuple(plain_value(v) for v in value), {}
    raise RegardError(f"'args' is {value!r}", file=file, line=line, expected="a list, a mapping of options, or both")


def plain_value(value: Any) -> Any:
    """Convert a YAML value to tuples, dictionaries and scalars; text such as None and 1e-5 becomes what it means."""
    if isinstance(value, list | tuple):
        return tuple(plain_value(v) for v in value)
    if isinstance(value, Mapping):
        return {str(k): plain_value(v) for k, v in value.items()}
    if isinstance(value, str) and NUMBER.fullmatch(value):
        return float(value)
    return {"None": None, "True": True, "False": False}.get(value, value) if isinstance(value, str) else value


def flow(value: Any) -> str:
    """Write a value as YAML in flow style, with None, True and False as in YOLOv5's files.

    Example:
        >>> flow([64, None, {"k": (1, 2)}])
        '[64, None, {k: [1, 2]}]'
    """
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow(v) for v in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {flow(v)}" for k, v in value.items()) + "}"
    if value is None or isinstance(value, bool):
        return str(value)
    return yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=math.inf)[1:-2]
