"""The files of a folder of results: nothing is replaced that the same command did not write there earlier."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from regard.errors import RegardError
from regard.system.files import atomic_write, is_file, is_there, make_folder, write_file
from regard.system.loaders import MOST_TEXT, read_bytes

LEDGER = ".written.jsonl"
"""File in the folder that lists what was written there: name and hash of the content, one JSON list per line."""
MOST_LINES = 1_000_000
GROWING = "part"
"""Stands for the hash of a file that is written bit by bit."""


class Outputs:
    """Writes files into a folder.

    Args:
        folder: made where it does not exist.

    Raises:
        RegardError: it cannot be made, or its list of files is a link.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written: list[Path] = []
        with self.errors():
            make_folder(folder)
        self._reject_links(folder / LEDGER)
        self._ours: dict[str, set[str]] = {}
        for name, content in _entries(folder / LEDGER):
            self._ours.setdefault(name, set()).add(content)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Name the folder in errors of the system; those of the images that are read name their own files."""
        try:
            yield
        except OSError as error:
            raise RegardError(f"cannot write here ({error.strerror or error})", file=self.folder) from error

    def check(self, path: Path, source: str = "") -> Path:
        """Check that a file may be written: it does not exist, or was written by an earlier call and unchanged.

        Args:
            path: of the file.
            source: file that is read, which is never replaced.

        Raises:
            RegardError: it may not.
        """
        self._reject_links(path)
        if not is_there(path):
            return path
        if source and is_there(source) and os.path.samefile(path, source):
            raise RegardError("this result would replace the image that it is of", file=path, hint=_HINT)
        known = self._ours.get(self._name(path), set())
        if not known or not is_file(path) or not known & {GROWING, _digest(path)}:
            what = "this file is not replaced, as it is no unchanged result of an earlier call"
            raise RegardError(what, file=path, hint=_HINT)
        return path

    def write(self, path: Path, data: bytes, source: str = "") -> None:
        """Write a whole file or nothing; see `check`."""
        make_folder(self.check(path, source).parent)
        self.note(path, _hash(data))
        write_file(path, data)
        self.written.append(path)

    @contextmanager
    def replace_own(self, path: Path) -> Iterator[IO[bytes]]:
        """Open a temporary file that becomes ``path`` when the block ends without an error; see `check`."""
        self.check(path)
        with atomic_write(path) as file:
            yield file
        self.note(path, _digest(path))

    def move(self, part: Path, path: Path) -> None:
        """Give a file that was written bit by bit its name; see `check`."""
        self.check(path)
        self.note(path, _digest(part))
        os.replace(part, path)

    def note(self, path: Path, content: str = GROWING) -> None:
        """Record that a file is ours, before it is there: what a killed process wrote may be replaced too."""
        name = self._name(path)
        if content not in self._ours.get(name, set()):
            self._ours.setdefault(name, set()).add(content)
            with (self.folder / LEDGER).open("a", encoding="utf-8") as ledger:
                ledger.write(json.dumps([name, content]) + "\n")

    def _reject_links(self, path: Path) -> None:
        """Reject a file that is a link, or in a folder of the results that is one: it would be written elsewhere."""
        inside = [path, *(folder for folder in path.parents if self.folder in folder.parents)]
        if link := next((place for place in inside if place.is_symlink()), None):
            raise RegardError("this is a link", file=link, expected="a file or folder", hint=_HINT)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


_HINT = "name another folder with --output, or move the file"


def _entries(ledger: Path) -> Iterator[tuple[str, str]]:
    if not is_file(ledger):
        return
    content = read_bytes(ledger, MOST_TEXT)
    if content.count(b"\n") > MOST_LINES:
        raise RegardError("too many lines", file=ledger, expected=f"at most {MOST_LINES:,}", hint=_HINT)
    for line in content.decode(errors="replace").splitlines():
        with suppress(ValueError, TypeError, RecursionError):  # a line that a killed process did not finish
            name, content = json.loads(line)
            yield str(name), str(content)


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
