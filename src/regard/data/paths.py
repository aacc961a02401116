"""Finding the files that a data set or a run names, also if it was made on another machine or by another system."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from regard.system.files import is_there

Listings = dict[Path, dict[str, list[str]]]
"""Names in each folder that was listed, by what they are without regard to capitals and Unicode form."""


@dataclass(frozen=True)
class Located:
    """A path that was found.

    Attributes:
        path: the file or folder, which exists.
        note: how it was found, for a notice to the user; "" if it is where the data set or the run says.
    """

    path: Path
    note: str = ""


def resolve(
    stated: str, bases: Sequence[Path], *, shortest: int = 1, listings: Listings | None = None
) -> Located | None:
    r"""Find the file or folder that a data set or a run calls ``stated``; None if there is none.

    Tried in this order, each from every base: the path as it is; with backslashes as separators; without what leads
    out of the base (``../``); then ever shorter ends of the path, for absolute paths of another machine. The last two
    also match names that differ in capitals or in Unicode form (macOS decomposes letters).

    Args:
        stated: a relative or absolute path of any system.
        bases: folders that a relative path may start from, the most likely first.
        shortest: least number of names that the end of a path must keep.
        listings: cache of folders' contents; pass the same dictionary for the paths of one data set.

    Example:
        >>> import tempfile
        >>> base = Path(tempfile.mkdtemp())
        >>> (base / "Images").mkdir()
        >>> found = resolve(r"C:\pets\images", [base])
        >>> found.path.name, found.note
        ('Images', 'found by the end of its path as Images')
    """
    bases = list(dict.fromkeys(bases))
    listings = {} if listings is None else listings
    spellings = dict.fromkeys((stated, stated.replace("\\", "/")))
    exact = next((path for form in spellings for base in bases if is_there(path := base / form)), None)
    if exact is not None:
        return Located(exact)
    pure = PureWindowsPath(stated)  # both separators, and drives
    names = pure.parts[1:] if pure.anchor else pure.parts
    last_up = max((i for i, name in enumerate(names) if name == ".."), default=-1)
    names = names[last_up + 1 :]
    for start in range(max(len(names) - shortest, 0) + 1):
        end = names[start:]
        for base in bases if end else ():
            path = base.joinpath(*end)
            found = path if is_there(path) else in_any_spelling(base, end, listings)
            if found is not None:
                return Located(found, _note(found, base, end, is_shortened=bool(start or pure.anchor)))
    return None


def _note(found: Path, base: Path, end: Sequence[str], *, is_shortened: bool) -> str:
    inner = found.relative_to(base).as_posix()
    if is_shortened:
        return f"found by the end of its path as {inner}"
    return "" if inner == "/".join(end) else f"found as {inner}"


def in_any_spelling(base: Path, names: Sequence[str], listings: Listings) -> Path | None:
    """Find the path below ``base`` with these names, regardless of capitals and Unicode form; None if there is none."""
    if not names:
        return base
    entries = list_folder(base, listings).get(plain(names[0]), ())
    found = (in_any_spelling(base / entry, names[1:], listings) for entry in entries)
    return next((path for path in found if path is not None), None)


def list_folder(folder: Path, listings: Listings) -> dict[str, list[str]]:
    """Names in a folder by their plain form; empty if it cannot be listed."""
    if folder not in listings:
        listings[folder] = {}
        try:
            for entry in sorted(os.listdir(folder)):
                listings[folder].setdefault(plain(entry), []).append(entry)
        except (OSError, ValueError):  # no folder, or a name that no file system accepts
            pass
    return listings[folder]


def plain(name: str) -> str:
    """Form of a name that does not depend on capitals and on how Unicode composes letters."""
    return unicodedata.normalize("NFC", name).casefold()


def files_below(folder: Path) -> list[Path]:
    """List the files in a folder and its subfolders, sorted.

    Links to folders are followed, each folder is listed once, and hidden files and folders are left out.
    """
    found: list[Path] = []
    seen: set[str] = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        folders[:] = [] if real in seen else sorted(name for name in folders if not name.startswith("."))
        if real not in seen:
            found += [Path(parent, name) for name in files if not name.startswith(".")]
        seen.add(real)
    return sorted(found)


def dataset_name(source: str) -> str:
    r"""Name of a data set by its source, without the folders of the machine; "" for "".

    Example:
        >>> dataset_name("/home/anna/bccd/data.yaml"), dataset_name("C:\\sets\\cards"), dataset_name("coco128.yaml")
        ('bccd', 'cards', 'coco128.yaml')
    """
    parts = [part for part in re.split(r"[\\/]", source) if part not in ("", ".")]
    if len(parts) > 1 and parts[-1].lower() in ("data.yaml", "data.yml", "dataset.yaml"):
        return parts[-2]
    return parts[-1] if parts else ""
