"""Files that are written whole or not at all, and folders and names for results."""

from __future__ import annotations

import difflib
import errno
import glob
import mmap
import os
import stat
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from regard.errors import RegardError
from regard.system.locks import LOCK, exclusive
from regard.system.scratch import scratch_path, sweep

RESERVED = {"con", "prn", "aux", "nul", "conin$", "conout$"} | {p + i for p in ("com", "lpt") for i in "123456789¹²³"}
"""Names that Windows reserves for devices, with any suffix."""

FORBIDDEN = '<>:"/\\|?*#%'
"""Characters that a file name cannot hold on Windows, or that change the meaning of an address in a browser."""

SPECIAL = {stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}
"""What has a name as a file does, but no end or no content."""

TIDY_SECONDS = 2.0
"""How long a folder may be locked by a process that only removes what was left in it."""


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file in the folder of ``path`` and rename it to ``path`` when the block ends without an error.

    A process that is killed leaves the old file or the new one, never a part.

    Raises:
        RegardError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "notes.txt"
        >>> with atomic_write(path) as file:
        ...     _ = file.write(b"whole")
        >>> path.read_text()
        'whole'
    """
    temporary = scratch_path(path.parent)
    try:
        if is_there(path) and not is_file(path):  # a device, which root could replace, or a folder
            raise OSError(errno.EINVAL, "there is something else than a file")
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.filename not in (None, str(temporary)):  # an error of another file, such as one that is read
            raise
        raise RegardError(f"cannot write the file: {error.strerror or error}", file=path) from error
    finally:
        with suppress(OSError):  # renamed, never created, or in a folder that cannot be written
            temporary.unlink()


def write_file(path: Path, content: str | bytes | memoryview) -> None:
    """Write a whole file, or leave it as it was; text is written as UTF-8.

    Raises:
        RegardError: the file cannot be written.
    """
    with atomic_write(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def is_file(path: str | Path) -> bool:
    """Check for a file without raising an error for names that no file system accepts, such as 5000 letters."""
    return os.path.isfile(path)


def reject_other(path: Path, *, content: bytes | None = None, mark: bytes = b"", hint: str) -> None:
    """Check a file whose name the user did not give: nothing is lost if a command writes it.

    Args:
        path: of the file.
        content: what will be written; the same may be there already.
        mark: bytes that every file of this kind contains if this package wrote it; such a file may be replaced.
        hint: how to give another name.

    Raises:
        RegardError: something else is there.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "p4.png"
        >>> reject_other(path, hint="give --output")
        >>> _ = path.write_bytes(b"a photo")
        >>> try:
        ...     reject_other(path, mark=b"regard", hint="give --output")
        ... except RegardError as error:
        ...     print(error.hint)
        give --output, or move the file
    """
    if not os.path.lexists(path):
        return
    if is_file(path) and os.path.getsize(path):
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as old:
            if (mark and old.find(mark) >= 0) or (content is not None and old[: len(old)] == content):
                return
    what = "this file is not replaced, as it is no earlier result of this command"
    raise RegardError(what, file=path, hint=f"{hint}, or move the file")


def reject_links(folder: Path) -> None:
    """Check that nothing that is written into a folder, such as a log that grows, goes to a file elsewhere.

    Raises:
        RegardError: the folder, the one above it or something in it is a link.
    """
    contents = folder.iterdir() if folder.is_dir() else ()
    if link := next((path for path in (folder.parent, folder, *contents) if path.is_symlink()), None):
        raise RegardError("there is a link where results are written", file=link, expected="the file or folder itself")


def matching_files(pattern: str) -> list[Path]:
    """Find the files that a pattern with ``*``, ``?``, ``**`` or ``[...]`` matches, sorted.

    Folders at its beginning that exist under these very names are taken as they are, and so are brackets where nothing
    else matches: ``data [2]/*.png`` is a folder of the user's.
    """
    parts = Path(pattern).parts
    known = next((n for n in range(len(parts), 0, -1) if os.path.isdir(Path(*parts[:n]))), 0)
    start, rest = [glob.escape(part) for part in parts[:known]], list(parts[known:])
    for tried in (rest, [part.replace("[", "[[]") for part in rest]):
        found = glob.glob(str(Path(*start, *tried)), recursive=True)
        if files := sorted(Path(name) for name in found if is_file(name)):
            return files
    return []


def check_readable(file: Path) -> None:
    """Check that a regular file can be read, before it is called damaged.

    Raises:
        RegardError: it cannot, for example for lack of rights.
    """
    try:
        with file.open("rb") as content:
            content.read(1)
    except OSError as error:
        raise RegardError(f"cannot be read: {error.strerror or error}", file=file) from error


def reject_special(path: str | Path) -> None:
    """Reject what is there and can never be read as a file, before it is called missing: a pipe, socket or device.

    Raises:
        RegardError: it is one; the error says which.
    """
    try:
        kind = stat.S_IFMT(os.stat(path).st_mode)
    except (OSError, ValueError):  # nothing is there, or nothing can be
        return
    if kind in SPECIAL:
        raise RegardError(f"this is a {SPECIAL[kind]}", file=path, expected="a file")


def is_folder(path: str | Path) -> bool:
    """Check for a folder as `is_file` checks for a file."""
    return os.path.isdir(path)


def is_there(path: str | Path) -> bool:
    """Check for a file or a folder as `is_file` checks for a file."""
    return os.path.exists(path)


def nearest_path(path: Path, suffixes: Collection[str] = ()) -> str | None:
    """Suggest a path of a similar name in the same folder as a missing ``path``; None if there is none.

    Args:
        path: what is missing.
        suffixes: in lower case, of the files that can be meant; any if there are none.
    """
    if not is_folder(path.parent):
        return f"the folder {path.parent} does not exist either"
    # Suffixes, which most files of a folder share, make no name similar.
    names = {sibling.name.lower(): sibling.name for sibling in path.parent.iterdir()}
    stems = {Path(name).stem: own for name, own in names.items() if not suffixes or Path(name).suffix in suffixes}
    close = difflib.get_close_matches(path.stem.lower(), stems, n=1, cutoff=0.6)
    return f"did you mean {stems[close[0]]!r}?" if close else None


def check_folder(path: Path) -> Path:
    """Check that ``path`` is a folder, or could become one.

    Raises:
        RegardError: it, or what should be a folder above it, is a file.

    Example:
        >>> check_folder(Path("no-such-folder")).name
        'no-such-folder'
    """
    there = next((place for place in (path, *path.parents) if is_there(place)), path)
    if is_there(there) and not is_folder(there):
        raise RegardError("is a file", file=there, expected="a folder, or a name that is not taken")
    return path


def check_file(path: Path) -> Path:
    """Check that ``path`` is a file, or could become one, before the work whose result is written there.

    Raises:
        RegardError: it is a folder, or what should be a folder above it is a file.

    Example:
        >>> check_file(Path("no-such-folder/metrics.json")).name
        'metrics.json'
    """
    check_folder(path.parent)
    if is_folder(path):
        raise RegardError("this is a folder", file=path, expected="a file, or a name that is not taken")
    return path


def make_folder(path: Path) -> Path:
    """Make a folder, and those above it, where it does not exist.

    Raises:
        RegardError: a file has its name, or that of a folder above it.
    """
    check_folder(path).mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def claim_folder(given: str | Path | None, default: Path = Path("runs")) -> Iterator[Path]:
    """Own a folder until the block ends: no two commands ever work in the same one.

    What a killed command left in it, or in the folders before it, is removed. Folders that were made here and are still
    empty at the end are removed too.

    Args:
        given: the folder, which may exist.
        default: the folder if none was given: this one, or the first of ``default-2``, ``default-3``, ... that does
            not exist.

    Raises:
        RegardError: another command works in the folder, or it cannot be written.

    Example:
        >>> import tempfile
        >>> runs = Path(tempfile.mkdtemp())
        >>> with claim_folder(None, runs / "train") as one, claim_folder(None, runs / "train") as other:
        ...     (one / "a.txt").touch()
        ...     print(one.name, other.name)
        train train-2
    """
    path = Path(given) if given else default
    made = [place for place in (path, *path.parents) if not is_there(place)]
    with ExitStack() as held:
        try:
            if given:
                make_folder(path)
            else:
                path = _new_folder(default)
                made = [path, *(place for place in made if place != default)]
            was_killed = is_there(path / LOCK)
            held.enter_context(exclusive(path / LOCK, seconds=TIDY_SECONDS))
            sweep(path, deep=was_killed)
        except BlockingIOError as error:
            raise RegardError("another command works in this folder", file=path, hint="name another one") from error
        except OSError as error:
            raise RegardError(f"cannot write here ({error.strerror or error})", file=path) from error
        try:
            yield path
        finally:
            held.close()
            with suppress(OSError):  # it is not empty
                for place in made:
                    place.rmdir()


def _new_folder(default: Path) -> Path:
    """Make the first folder of a numbered name that does not exist, and tidy those of killed commands before it."""
    make_folder(default.parent)
    path, k = default, 2
    while True:
        try:
            path.mkdir()
        except FileExistsError:
            if is_there(path / LOCK):
                with suppress(OSError), exclusive(path / LOCK):  # else a command works there
                    sweep(path, deep=True)
            path, k = default.with_name(f"{default.name}-{k}"), k + 1
        else:
            return path


def portable_name(name: str) -> str:
    """Make a file name that every system accepts, by replacing what Windows does not allow with ``_``.

    Example:
        >>> portable_name("video.mp4#17"), portable_name("con.txt"), portable_name("a:b? ")
        ('video.mp4_17', '_con.txt', 'a_b_')
    """
    made = "".join("_" if character in FORBIDDEN or ord(character) < 32 else character for character in name)
    made = made.rstrip(" .") or "_"
    return f"_{made}" if made.split(".")[0].rstrip(" ").lower() in RESERVED else made
