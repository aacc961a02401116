"""Reading untrusted text, YAML and JSON: bounded in size and depth, errors with file and line.

Every such file of the user is read here, and XML in `regard.system.xml`, so that the limits hold everywhere. Nothing
but plain values is constructed.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import stat
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from regard.errors import RegardError, nearest, one_of

MOST_TEXT, MOST_YAML, MOST_JSON = 64 * 2**20, 4 * 2**20, 2**30
"""Largest files that are read, in bytes."""

MOST_DEPTH, MOST_NODES = 100, 200_000
"""How deep YAML may be nested and how many values it may have, each alias counted as all values that it refers to."""

MOST_TABLE_ROWS = 3_000_000

MOST_DIGITS = 400
"""How long a number or a tag in YAML may be written: the time of longer ones grows with the square of their length."""

LineOf = Mapping[tuple[str, int], int]
"""Line of each item of each top-level list or mapping, and of the key itself at position -1."""

BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_ESCAPE_HINT = r"in double quotes a backslash begins an escape: write paths with /, or in single quotes"
_SURROGATE = re.compile("[\ud800-\udfff]")
_JSON_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_TAG_DIRECTIVE = re.compile(r"(?:^|(?<=[\r\n\x85\u2028\u2029]))\ufeff*%TAG")
_LONG_INTEGER = re.compile(r"\d{19}")
_CONSTRUCTOR_ERRORS = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError)


def read_bytes(file: Path, most: int) -> bytes:
    """Read a regular file of at most ``most`` bytes.

    Raises:
        RegardError: it is missing, a folder, a pipe or a device, too large, or cannot be read.
    """
    try:
        state = file.stat()
        if not stat.S_ISREG(state.st_mode):
            what = "a folder" if stat.S_ISDIR(state.st_mode) else "a pipe or a device"
            raise RegardError(f"cannot be read: it is {what}", file=file, expected="a file")
        if state.st_size > most:
            raise RegardError(f"the file has {state.st_size:,} bytes", file=file, expected=f"at most {most:,}")
        with file.open("rb") as content:
            data = content.read(most + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the name
        raise RegardError(f"cannot be read: {getattr(error, 'strerror', None) or error}", file=file) from error
    if len(data) > most:  # it grew, or is one of the kernel's, which have no size
        raise RegardError("the file is too large", file=file, expected=f"at most {most:,} bytes")
    return data


def read_start(file: Path, count: int, *, from_end: bool = False) -> bytes:
    """Read the first or the last bytes of a regular file; none of what is missing, a pipe, a device, or unreadable."""
    try:
        state = file.stat()
        if not stat.S_ISREG(state.st_mode):
            return b""
        with file.open("rb") as content:
            content.seek(max(state.st_size - count, 0) if from_end else 0)
            return content.read(count)
    except (OSError, ValueError):
        return b""


def read_first_line(file: Path) -> str:
    """Read the first line of a regular file, at most 4,096 bytes; "" if it is no UTF-8 either."""
    try:
        return read_start(file, 4096).partition(b"\n")[0].decode("utf-8-sig")
    except UnicodeDecodeError:
        return ""


def read_text(file: Path, most: int = MOST_TEXT) -> str:
    """Read a text file in UTF-8, or in UTF-16 with the byte order mark that Windows writes; the mark is dropped.

    Raises:
        RegardError: the file cannot be read or is too large, or is in another encoding; the error names the line.
    """
    content = read_bytes(file, most)
    mark, encoding = next(((bom, name) for bom, name in BOMS if content.startswith(bom)), (b"", "utf-8"))
    try:
        return content[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        start = error.start + len(mark)
        raise RegardError(
            f"cannot be read: {content[start : start + 1]!r} is not valid {encoding.upper()}",
            file=file,
            line=content.count(b"\n", 0, start) + 1,
            expected="a text file saved as UTF-8",
        ) from error


def read_yaml(file: Path) -> tuple[Any, LineOf]:
    """Read a YAML file; see `parse_yaml`."""
    return parse_yaml(read_text(file, MOST_YAML), file)


def parse_yaml(text: str, file: Path | None) -> tuple[Any, LineOf]:
    """Parse one YAML document into plain values, and find the line of every item of its top-level collections.

    Values are text, whole numbers of up to 64 bits, floats, booleans, None, lists and dictionaries; dates stay text.

    Args:
        text: the document.
        file: the file that it comes from, for error messages.

    Raises:
        RegardError: the text is not YAML, repeats a key, contains itself, or is too large or nested too deeply.

    Example:
        >>> value, lines = parse_yaml("nc: 2\\nhead:\\n- [a]\\n- [b]", None)
        >>> value["nc"], lines["head", 1], lines["nc", -1]
        (2, 4, 1)
    """
    try:
        if len(text) > MOST_YAML:
            raise RegardError(f"the YAML has {len(text):,} characters", file=file, expected=f"at most {MOST_YAML:,}")
        _reject_tags(text, file)
        _check_nesting(text, file)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            _check_nodes(node, loader, file)
            value = None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except (yaml.YAMLError, *_CONSTRUCTOR_ERRORS) as error:
        mark = getattr(error, "problem_mark", None)
        position = getattr(error, "position", len(text))  # set if YAML does not allow a character
        line = min(mark.line + 1, max(1, len(text.splitlines()))) if mark else text.count("\n", 0, position) + 1
        problem = getattr(error, "problem", None) or str(error)
        in_quotes = "quoted scalar" in str(getattr(error, "context", ""))
        hint = _ESCAPE_HINT if in_quotes and "\\" in "".join(text.split("\n")[line - 1 : line]) else None
        raise RegardError(f"not valid YAML: {problem}", file=file, line=line, hint=hint) from error
    return value, _lines(node)


def read_json(file: Path, most: int = MOST_JSON) -> Any:
    """Read a JSON file; see `parse_json`."""
    return parse_json(read_text(file, most), file)


def read_json_mapping(file: Path, most: int = MOST_JSON) -> dict[str, Any]:
    """Read a JSON file that must contain a mapping; see `parse_json`."""
    value = read_json(file, most)
    if not isinstance(value, dict):
        raise RegardError("damaged: not a mapping", file=file)
    return value


def parse_json(text: str, file: Path | None) -> Any:
    """Parse a JSON document; halves of a surrogate pair become U+FFFD.

    Raises:
        RegardError: the text is not JSON, is nested too deeply, repeats a key, of which JSON would silently use the
            last, or has a whole number of more than 64 bits.

    Example:
        >>> parse_json('{"a": [1, 1e3]}', None)
        {'a': [1, 1000.0]}
    """
    # A function for each number is slow, and needed only where some number may be that long.
    parse_int = _bounded_integer if _LONG_INTEGER.search(text) else None
    try:
        value = json.loads(text, parse_int=parse_int, object_pairs_hook=_each_key_once)
    except _NotPlainError as error:
        raise RegardError(f"not valid JSON: {error}", file=file) from error
    except json.JSONDecodeError as error:
        raise RegardError(f"not valid JSON: {error.msg}", file=file, line=error.lineno) from error
    except RecursionError as error:
        raise RegardError("not valid JSON: it is nested too deeply", file=file) from error
    return _replace_surrogates(value) if _JSON_SURROGATE.search(text) else value


def parse_csv(text: str, file: Path, delimiter: str = ",", most: int = MOST_TABLE_ROWS) -> list[list[str]]:
    """Parse the rows of a table, at most ``most``; lines end as on any system.

    Raises:
        RegardError: there are more rows, a cell is longer than 128 KiB, or a quoted one does not end as it should.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        rows = list(islice(reader, most + 1))
    except csv.Error as error:
        raise RegardError(f"not a valid table: {error}", file=file, line=reader.line_num) from error
    if len(rows) > most:
        raise RegardError("too many rows", file=file, line=reader.line_num, expected=f"at most {most:,}")
    return rows


def check_keys(
    document: Mapping[str, Any], known: Sequence[str], lines: LineOf, file: Path | None, *, ignored: Sequence[str] = ()
) -> None:
    """Check that a document has no other top-level keys than ``known`` ones and ``ignored`` ones.

    Raises:
        RegardError: it has; the nearest known key is suggested.
    """
    for key in document:
        if key not in (*known, *ignored):
            line, expected = lines.get((key, -1)), one_of(known)
            raise RegardError(f"unknown key {key!r}", file=file, line=line, expected=expected, hint=nearest(key, known))


class _Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc]
    """Constructs plain values only; what a value cannot be is an error with its line."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as the base class declares it
        first: [(tag, form) for tag, form in forms if tag.rpartition(":")[2] not in ("timestamp", "value")]
        for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    yaml_constructors = {  # noqa: RUF012
        tag: made
        for tag, made in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in ("null", "bool", "int", "float", "str", "seq", "map")
    }

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        kind = node.tag.rpartition(":")[2]
        try:
            if kind in ("int", "float") and len(node.value) > MOST_DIGITS:
                raise ValueError("too long")
            value = super().construct_object(node, deep)
            if isinstance(value, int) and value.bit_length() > 64:
                raise ValueError("too long")
        except _CONSTRUCTOR_ERRORS as error:
            what = f"{str(node.value)[:40]!r} is no {kind}, or one that is too long"
            raise yaml.constructor.ConstructorError(None, None, what, node.start_mark) from error
        if isinstance(value, str) and _SURROGATE.search(value):
            raise yaml.constructor.ConstructorError(None, None, "half of a surrogate pair", node.start_mark)
        return value


def _reject_tags(text: str, file: Path | None) -> None:
    """Reject directives that abbreviate tags: each tag is written out, and each directive compared with all others."""
    if found := _TAG_DIRECTIVE.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise RegardError("%TAG is not read", file=file, line=line, expected="plain values, which need no tags")


def _check_nesting(text: str, file: Path | None) -> None:
    """Reject deep nesting, and more values than can be read in seconds, from the events, which are read one by one."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if count > 2 * MOST_NODES:  # a collection has two events
            raise RegardError("too many values", file=file, expected=f"at most {MOST_NODES:,}")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if len(getattr(event, "tag", None) or "") > MOST_DIGITS:
            line = event.start_mark.line + 1 if event.start_mark else None
            raise RegardError("a tag is too long", file=file, line=line, expected="plain values")
        if depth > MOST_DEPTH:
            raise _too_deep(file, event.start_mark.line + 1 if event.start_mark else None)


def _too_deep(file: Path | None, line: int | None) -> RegardError:
    return RegardError("the YAML is nested too deeply", file=file, line=line, expected=f"at most {MOST_DEPTH} levels")


def _check_nodes(root: yaml.Node | None, loader: _Loader, file: Path | None) -> None:
    """Reject repeated keys, of which YAML would silently use the last; and aliases that nest or multiply values."""
    measured: dict[int, tuple[int, int] | None] = {}

    def measure(node: yaml.Node) -> tuple[int, int]:
        """Count the values below a node, and its levels."""
        line = node.start_mark.line + 1
        if id(node) in measured:
            known = measured[id(node)]
            if known is None:  # begun, and not finished
                raise RegardError("the document contains itself (by an anchor & and an alias *)", file=file, line=line)
            return known
        measured[id(node)] = None
        if isinstance(node, yaml.MappingNode):
            _reject_repeated_keys(node, loader, file)
            children: Iterable[yaml.Node] = (part for pair in node.value for part in pair)
        else:
            children = node.value if isinstance(node, yaml.SequenceNode) else ()
        values, levels = 1, 0
        for child in children:
            more, below = measure(child)
            values, levels = values + more, max(levels, below + 1)
        if values > MOST_NODES:
            what = "too many values, each alias counted as the values that it refers to"
            raise RegardError(what, file=file, line=line, expected=f"at most {MOST_NODES:,}")
        if levels > MOST_DEPTH:
            raise _too_deep(file, line)
        measured[id(node)] = (values, levels)
        return values, levels

    if root is not None:
        measure(root)


def _reject_repeated_keys(node: yaml.MappingNode, loader: _Loader, file: Path | None) -> None:
    seen: set[Any] = set()  # what keys mean: 1, 01 and 0x1 are one key
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            is_merge = key.tag == "tag:yaml.org,2002:merge"
            means = key.value if is_merge else loader.construct_object(key)
            if means in seen:
                line = key.start_mark.line + 1
                raise RegardError(f"the key {key.value!r} is repeated", file=file, line=line, expected="each key once")
            seen.add(means)


def _lines(root: yaml.Node | None) -> LineOf:
    if not isinstance(root, yaml.MappingNode):
        return {}
    lines: dict[tuple[str, int], int] = {}
    for key, value in root.value:
        name = str(key.value)
        lines[name, -1] = key.start_mark.line + 1
        if isinstance(value, yaml.SequenceNode | yaml.MappingNode):
            parts = value.value if isinstance(value, yaml.SequenceNode) else [part for part, _ in value.value]
            lines |= {(name, i): part.start_mark.line + 1 for i, part in enumerate(parts)}
    return lines


class _NotPlainError(Exception):
    """What in a JSON document is not read, although it is JSON."""


def _bounded_integer(text: str) -> int:
    if len(text) > 20 or abs(value := int(text)) >= 2**64:
        raise _NotPlainError(f"{text[:20]}{'...' * (len(text) > 20)} is a number of more than 64 bits")
    return value


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        key = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise _NotPlainError(f"the key {key[:100]!r} is repeated")
    return value


def _replace_surrogates(root: Any) -> Any:
    """Copy a JSON value with U+FFFD in place of every surrogate; iteratively, as its depth is that of the file."""
    result: list[Any] = [root]
    left: list[tuple[Any, Any]] = [(result, 0)]
    while left:
        holder, key = left.pop()
        value = holder[key]
        if isinstance(value, str):
            holder[key] = _SURROGATE.sub("\ufffd", value)
        elif isinstance(value, list):
            left += [(value, i) for i in range(len(value))]
        elif isinstance(value, dict):
            clean = {_SURROGATE.sub("\ufffd", name): part for name, part in value.items()}
            holder[key] = clean
            left += [(clean, name) for name in clean]
    return result[0]
