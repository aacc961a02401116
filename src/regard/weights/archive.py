"""Torch checkpoints as zip archives: recognising other files, and reading members with their sizes checked.

``torch.save`` writes one top folder with ``data.pkl`` (the pickle) and ``data/<key>`` (one raw storage each), never
compressed. Therefore all members together cannot be larger than the file, and neither a zip bomb nor overlapping
members can allocate more memory than the size of the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from regard.errors import RegardError
from regard.system.files import is_file
from regard.weights.paths import missing_file

EXPECTED = "a checkpoint in the format of torch.save since torch 1.6 (a zip archive)"
LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
PICKLE = "data.pkl"
MOST_PICKLE, MOST_MEMBERS = 16 * 2**20, 100_000
"""Bytes of the pickle, which becomes objects of fifty times its size, and number of tensors and other members."""
SIGNATURES = (
    (b"\x80", "a bare pickle, not a torch checkpoint"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
    (b"\x1f\x8b", "a gzip file"),
    (b"\x89HDF", "an HDF5 file"),
)
# Exceptions of the zip reader for unexpected bytes; there is no common base class.
ZIP_ERRORS = (BadZipFile, EOFError, OSError, RuntimeError, ValueError, OverflowError, struct.error)


@dataclass(frozen=True)
class TorchArchive:
    """An open checkpoint.

    Attributes:
        path: the file.
        folder: the top folder of the archive.
        members: entries by full name; none is compressed, and names are unique.
    """

    path: Path
    folder: str
    members: Mapping[str, ZipInfo]
    _zip: ZipFile

    def read(self, name: str) -> bytes:
        """Read the whole member ``<folder>/<name>``.

        Raises:
            RegardError: the member is missing or damaged.
        """
        info = self.members.get(f"{self.folder}/{name}")
        if info is not None and name == PICKLE and info.file_size > MOST_PICKLE:
            what = f"the pickle in it has {info.file_size:,} bytes"
            raise RegardError(what, file=self.path, expected=f"at most {MOST_PICKLE:,}")
        if info is None:
            raise RegardError(f"the archive has no member {name!r}", file=self.path, expected=EXPECTED)
        try:
            data = self._zip.read(info)
        except ZIP_ERRORS as error:
            raise _damaged(self.path, error) from error
        if len(data) != info.file_size:
            raise _damaged(self.path, f"{name!r} has {len(data)} bytes, not {info.file_size}")
        return data


@contextmanager
def open_archive(path: Path) -> Iterator[TorchArchive]:
    """Open a torch zip checkpoint.

    Raises:
        RegardError: the file is missing or of another kind; the message names the kind if it is known.
    """
    if not is_file(path):
        raise missing_file(path)
    with path.open("rb") as file:
        head = file.read(512)
    if not head.startswith(b"PK\x03\x04"):
        raise RegardError(f"this is {look_of(head)}", file=path, expected=EXPECTED, hint=_remedy(head))
    try:
        archive = ZipFile(path)
    except ZIP_ERRORS as error:
        raise _damaged(path, error) from error
    with archive:
        members = _checked_members(archive, path)
        yield TorchArchive(path, _top_folder(members, path), members, archive)


def foreign_content(path: Path) -> str | None:
    """Describe what a file is that was named ``.safetensors``; None if it is one, damaged, or of no known kind."""
    with path.open("rb") as file:
        head = file.read(512)
    if head[8:9] == b"{":
        return None
    return "a zip archive, perhaps a torch checkpoint (.pt)" if head.startswith(b"PK\x03\x04") else _known_look(head)


def look_of(head: bytes) -> str:
    """Describe the kind of a file, not a zip archive, by its first few hundred bytes ``head``."""
    if head[8:10] == b'{"':
        return "a safetensors file with another suffix"
    return _known_look(head) or f"not a torch checkpoint (it begins with {head[:8]!r})"


def _known_look(head: bytes) -> str | None:
    if not head:
        return "an empty file"
    if LEGACY_MAGIC in head[:32]:
        return "a checkpoint in torch's older, non-zip format (before torch 1.6)"
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "a web page, perhaps the login or error page of a download"
    for signature, look in SIGNATURES:
        if head.startswith(signature):
            return look
    return None


def _remedy(head: bytes) -> str | None:
    if LEGACY_MAGIC in head[:32]:
        return "if you trust the file, load it with torch.load and save it again with torch.save"
    return None


def _checked_members(archive: ZipFile, path: Path) -> dict[str, ZipInfo]:
    infos = archive.infolist()
    members = {info.filename: info for info in infos}
    if len(infos) > MOST_MEMBERS:
        raise RegardError(f"an archive of {len(infos):,} members", file=path, expected=f"at most {MOST_MEMBERS:,}")
    if len(members) < len(infos):
        raise _damaged(path, "two members have the same name")
    if any(info.compress_type != ZIP_STORED for info in infos):
        raise RegardError(
            "a zip archive with compressed members, which torch never writes", file=path, expected=EXPECTED
        )
    if sum(info.file_size for info in infos) > path.stat().st_size:
        raise _damaged(path, "its members are larger than the file")
    return members


def _top_folder(members: Mapping[str, ZipInfo], path: Path) -> str:
    folders = [
        name.removesuffix("/data.pkl") for name in members if name.count("/") == 1 and name.endswith("/data.pkl")
    ]
    if len(folders) != 1:
        raise RegardError("a zip archive, but not a torch checkpoint (no data.pkl)", file=path, expected=EXPECTED)
    folder = folders[0]
    if f"{folder}/constants.pkl" in members:
        raise RegardError("a TorchScript program, not a checkpoint", file=path, expected=EXPECTED)
    return folder


def _damaged(path: Path, why: object) -> RegardError:
    return RegardError(f"a torch checkpoint that is truncated or damaged ({why})", file=path, expected=EXPECTED)
