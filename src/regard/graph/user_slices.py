"""Parts of a fork's files: a class and what it needs, without the rest of the file, which may need the whole fork.

A fork's ``models/common.py`` imports the fork's own packages, relative ones included, and much that its layers never
use. The file is parsed; of its statements only those run that define a wanted name, or a name that these use. Imports
from files of the fork, next to the file or in a folder above it, are read in the same way; annotations are left out.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from regard.errors import RegardError
from regard.system.files import is_file

MOST_FOLDERS = 4
"""Folders above a file in which a package that it imports is looked for."""
MOST_FILES = 200
"""Files that one class may need."""


class Slices:
    """Files of a fork, of which only what is needed has run; each at most once."""

    def __init__(self) -> None:
        self._files: dict[Path, _File] = {}

    def load(self, file: Path, names: Iterable[str], into: ModuleType | None = None) -> dict[str, Any]:
        """Run what defines ``names`` in a file, and return its namespace.

        Args:
            file: the file.
            names: defined at the top of the file, or imported there.
            into: the module whose namespace the definitions get.

        Raises:
            RegardError: the file is no Python, or defines no such name; the message names its line.
        """
        path = file.resolve()
        if path not in self._files:
            if len(self._files) >= MOST_FILES:
                raise RegardError(f"it needs more than {MOST_FILES} files", file=file)
            self._files[path] = _File(file, self, into)
        part = self._files[path]
        for name in names:
            part.define(name)
        return part.namespace

    def defines(self, file: Path, name: str) -> bool:
        """Whether a loaded file has a class or function of that name, which may not have run."""
        part = self._files.get(file.resolve())
        kinds = (ast.ClassDef, ast.FunctionDef)
        return part is not None and any(isinstance(one, kinds) for one in part.statements.get(name, ()))


class _File:
    """One file, its statements by the names that they bind, and what has run of it."""

    def __init__(self, file: Path, slices: Slices, module: ModuleType | None) -> None:
        try:
            tree = ast.parse(file.read_bytes(), str(file))
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", None)
            raise RegardError(f"not Python: {error}", file=file, line=line) from error
        self.file, self.slices = file, slices
        self.namespace: dict[str, Any] = vars(module) if module else {"__name__": file.stem, "__file__": str(file)}
        self.statements: dict[str, list[ast.stmt]] = {}
        self.stars: list[ast.ImportFrom] = []
        for statement in tree.body:
            if isinstance(statement, ast.ImportFrom) and statement.names[0].name == "*":
                self.stars.append(statement)
            for name in _bound(statement):
                self.statements.setdefault(name, []).append(statement)
        self.done: set[int] = set()

    def define(self, name: str) -> None:
        """Run the statements that bind a name, after those that they need; names of nobody are Python's own."""
        for statement in self.statements.get(name, ()):
            if isinstance(statement, ast.Import | ast.ImportFrom):
                self._bind(statement, name)
            elif id(statement) not in self.done:
                self.done.add(id(statement))
                self._run(statement)
        if name not in self.statements and name not in self.namespace:
            self._from_stars(name)

    def _run(self, statement: ast.stmt) -> None:
        _without_annotations(statement)
        for needed in _used(statement):
            self.define(needed)
        self._execute(statement)

    def _execute(self, statement: ast.stmt) -> None:
        """Run one statement as an import of the file would; it is the user who named the file."""
        code = ast.fix_missing_locations(ast.Module([statement], type_ignores=[]))
        exec(compile(code, str(self.file), "exec"), self.namespace)

    def _bind(self, statement: ast.Import | ast.ImportFrom, name: str) -> None:
        """Run one import; the other names of the same statement stay unbound until they are needed."""
        alias = next(a for a in statement.names if (a.asname or a.name.split(".")[0]) == name)
        if name in self.namespace:
            return
        place = self._local(statement, alias.name)
        if place is None:
            only = ast.copy_location(
                ast.Import([alias])
                if isinstance(statement, ast.Import)
                else ast.ImportFrom(statement.module, [alias], statement.level),
                statement,
            )
            self._execute(only)
        elif place[1]:
            self.namespace[name] = self.slices.load(place[0], [place[1]])[place[1]]
        else:
            self.namespace[name] = _Lazy(self.slices, place[0])

    def _local(self, statement: ast.Import | ast.ImportFrom, name: str) -> tuple[Path, str] | None:
        """File of the fork that an import means, and the name in it ("" for the file itself); None if there is none."""
        if isinstance(statement, ast.Import):
            found = self._file_of(name.split("."), 0)
            return (found, "") if found else None
        module = statement.module.split(".") if statement.module else []
        if found := self._file_of([*module, name], statement.level):
            return found, ""
        if found := self._file_of(module, statement.level):
            return found, name
        return None

    def _file_of(self, parts: list[str], level: int) -> Path | None:
        if not parts or (level == 0 and _installed(parts[0])):
            return None
        folders = [*self.file.absolute().parents][: MOST_FOLDERS + 1]
        for folder in folders[level - 1 : level] if level else folders:
            for candidate in (folder.joinpath(*parts).with_suffix(".py"), folder.joinpath(*parts, "__init__.py")):
                if is_file(candidate) and candidate.resolve() != self.file.resolve():
                    return candidate
        return None

    def _from_stars(self, name: str) -> None:
        for statement in self.stars:
            module = statement.module.split(".") if statement.module else []
            found = self._file_of(module, statement.level)
            if found:
                values = self.slices.load(found, [name])
                if name in values:
                    self.namespace[name] = values[name]
            elif statement.module and _installed(module[0]):
                values = vars(importlib.import_module(statement.module))
                if name in values:
                    self.namespace[name] = values[name]


class _Lazy(SimpleNamespace):
    """A file of the fork that is imported as a module: each attribute is defined when it is asked for."""

    def __init__(self, slices: Slices, file: Path) -> None:
        super().__init__()
        self._slices, self._file = slices, file

    def __getattr__(self, name: str) -> Any:
        values = self._slices.load(self._file, [name])
        if name not in values:
            raise AttributeError(f"{self._file.name} defines no {name!r}")
        return values[name]


def needs_slices(file: Path) -> bool:
    """Whether a file has imports at its top that cannot be run where it stands: relative, or of what is missing."""
    try:
        tree = ast.parse(file.read_bytes(), str(file))
    except (SyntaxError, ValueError):
        return False
    beside = file.absolute().parent
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom) and statement.level:
            return True
        modules = [statement.module] if isinstance(statement, ast.ImportFrom) else []
        modules += [alias.name for alias in statement.names] if isinstance(statement, ast.Import) else []
        for module in modules:
            first = (module or "").split(".")[0]
            if first and not _installed(first) and not (beside / f"{first}.py").is_file():
                return True
    return False


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _bound(statement: ast.stmt) -> Iterator[str]:
    """Names that a statement at the top of a file binds."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
        return
    if isinstance(statement, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name.split(".")[0] for alias in statement.names if alias.name != "*")
        return
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.split(".")[0] for alias in node.names)


def _used(statement: ast.stmt) -> Iterator[str]:
    """Names that a statement reads, inside of functions too."""
    yield from (n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load))


def _without_annotations(statement: ast.stmt) -> None:
    for node in ast.walk(statement):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
            arguments = node.args
            for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
                argument.annotation = None
            for rest in (arguments.vararg, arguments.kwarg):
                if rest:
                    rest.annotation = None
