"""The wiring check over many files: one finding per line, for people, for GitHub or as JSON."""

from __future__ import annotations

import glob
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from regard.errors import RegardError
from regard.graph.read import GRAPHS, read_spec
from regard.graph.unknown_layers import check_known
from regard.system.files import is_file, is_folder, is_there, matching_files
from regard.system.loaders import read_yaml
from regard.system.terminal import printable_line

MOST_EXPECTED = 200
"""Characters of the valid values that are repeated in a line."""

Kind = Literal["miswired", "note", "invalid", "unreadable"]
Format = Literal["text", "github", "json"]


@dataclass(frozen=True)
class Finding:
    """One finding in a file.

    Attributes:
        file: path of the file.
        line: 1-based line; 1 where no line is known, None where there is no file.
        kind: ``miswired``; ``note`` for what can be intended; ``invalid`` for a graph that cannot be built for another
            reason; ``unreadable`` for a file that is missing or not YAML.
        message: description, with the corrected row.
    """

    file: str
    line: int | None
    kind: Kind
    message: str


def files_of(patterns: Iterable[str]) -> list[Path]:
    """Expand folders, to all YAML files below them, and patterns such as ``models/**/*.yaml``; sorted, each file once.

    Names of files that do not exist are kept, to be reported.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern)
        if is_folder(path):
            below = sorted(p for p in path.rglob("*") if p.suffix.lower() in GRAPHS and is_file(p))
        elif is_file(path) or not glob.has_magic(pattern):
            below = [path]
        else:
            below = matching_files(pattern) or [path]
        found |= dict.fromkeys(below)
    return list(found)


def lint(
    patterns: Sequence[str], *, modules: Mapping[str, type[nn.Module]] | None = None
) -> tuple[list[Finding], list[Path]]:
    """Check the graphs in files, folders and patterns.

    Files in folders and patterns that hold no graph (no ``backbone`` and no ``base``) are skipped.

    Args:
        patterns: files, folders, or patterns with ``*``.
        modules: the user's own classes by name.

    Returns:
        The findings in the order of the files, and the files that were checked.
    """
    checked = list(lint_each(patterns, modules=modules))
    return [finding for _, found, _ in checked for finding in found], [file for file, _, has in checked if has]


def lint_each(
    patterns: Sequence[str], *, modules: Mapping[str, type[nn.Module]] | None = None
) -> Iterator[tuple[Path, list[Finding], bool]]:
    """As `lint`, file by file: the file, its findings, and whether it was read as a graph."""
    named = {Path(pattern) for pattern in patterns}
    for file in files_of(patterns):
        try:
            document = read_yaml(file)[0]
        except RegardError as error:
            yield file, [_of_error(error, file, "unreadable")], False
            continue
        if file in named or (isinstance(document, dict) and {"backbone", "base"} & document.keys()):
            yield file, list(_in_file(file, modules)), True


def _in_file(file: Path, modules: Mapping[str, type[nn.Module]] | None) -> Iterator[Finding]:
    try:
        unknown, found = check_known(read_spec(file), modules or {})
    except RegardError as error:
        yield _of_error(error, file, "invalid")
        return
    for layer in unknown:
        yield _of_error(layer, file, "invalid")
    for finding in found:
        message = finding.what + (f"; {finding.corrected}" if finding.corrected else "")
        kind: Kind = "note" if finding.note else "miswired"
        yield Finding(str(finding.row.file or file), finding.row.line or 1, kind, message)


def _of_error(error: RegardError, file: Path, kind: Kind) -> Finding:
    short = error.expected if error.expected and len(error.expected) <= MOST_EXPECTED else None
    parts = [error.what, f"expected: {short}" if short else "", error.hint or ""]
    message = "; ".join(" ".join(part.split()) for part in parts if part)
    line = 1 if is_there(file) else None
    return Finding(str(error.file or file), error.line or line, kind, message)


def formatted(findings: Sequence[Finding], form: Format, words: Callable[[str], str] = str) -> str:
    """Write findings as ``file:line: kind: message`` lines, as GitHub's workflow commands, or as JSON.

    Args:
        findings: what was found.
        form: only the first has messages that ``words`` translates; programs read the others.
        words: translates a text.
    """
    if form == "json":
        return json.dumps([asdict(finding) for finding in findings], indent=2)
    plain = form == "text"
    lines = (_plain(f, words) if plain else _github(f) for f in findings)
    return "\n".join(map(printable_line, lines))


def _plain(finding: Finding, words: Callable[[str], str]) -> str:
    place = f"{finding.file}:{finding.line}" if finding.line else finding.file
    return f"{place}: {words(finding.kind)}{words(': ')}{words(finding.message)}"


def _github(finding: Finding) -> str:
    level = "warning" if finding.kind == "note" else "error"
    place = f"file={_escaped(finding.file, properties=True)}" + (f",line={finding.line}" if finding.line else "")
    return f"::{level} {place},title=regard lint ({finding.kind})::{_escaped(finding.message)}"


def _escaped(text: str, *, properties: bool = False) -> str:
    codes = {"%": "%25", "\r": "%0D", "\n": "%0A"} | ({":": "%3A", ",": "%2C"} if properties else {})
    for character, code in codes.items():
        text = text.replace(character, code)
    return text


def exit_code(findings: Sequence[Finding], *, strict: bool = False) -> int:
    """2 if a file could not be read, 1 if there are other findings (notes only with ``strict``), else 0."""
    kinds = {finding.kind for finding in findings} - (set[Any]() if strict else {"note"})
    return 2 if "unreadable" in kinds else 1 if kinds else 0
