"""A torch checkpoint as a zip archive: what a file looks like, and its members, each read with its size checked.

``torch.save`` writes one top folder holding ``data.pkl`` (the pickle) and ``data/<key>`` (one raw storage each), never
compressed. That is what makes the size rule simple: the members together cannot be larger than the file, so neither
a zip bomb nor overlapping members can make us allocate more than the file's own size.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from regard.errors import RegardError
from regard.weights.missing import missing_file

EXPECTED = "a checkpoint as torch.save has written it since torch 1.6 (a zip archive)"
LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
SIGNATURES = (
    (b"\x80", "a bare pickle, not a torch checkpoint"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file that it stands for"),
    (b"\x1f\x8b", "a gzip file"),
    (b"\x89HDF", "an HDF5 file"),
)
# What the zip reader raises on bytes that it did not expect; there is no common base class.
ZIP_ERRORS = (BadZipFile, EOFError, OSError, RuntimeError, ValueError, OverflowError, struct.error)


@dataclass(frozen=True)
class TorchArchive:
    """An open checkpoint.

    Attributes:
        path: the file.
        folder: the archive's top folder.
        members: full member name to its entry; none compressed, no name twice.
    """

    path: Path
    folder: str
    members: Mapping[str, ZipInfo]
    _zip: ZipFile

    def read(self, name: str) -> bytes:
        """Return the whole member ``<folder>/<name>``.

        Raises:
            RegardError: there is no such member, or it is damaged.
        """
        info = self.members.get(f"{self.folder}/{name}")
        if info is None:
            raise RegardError(f"the archive lacks its member {name!r}", file=self.path, expected=EXPECTED)
        try:
            data = self._zip.read(info)
        except ZIP_ERRORS as error:
            raise _damaged(self.path, error) from error
        if len(data) != info.file_size:
            raise _damaged(self.path, f"{name!r} holds {len(data)} bytes, not {info.file_size}")
        return data


@contextmanager
def open_archive(path: Path) -> Iterator[TorchArchive]:
    """Open a torch zip checkpoint.

    Raises:
        RegardError: the file is missing, or is something else; the message says what it looks like.
    """
    if not path.is_file():
        raise missing_file(path)
    with path.open("rb") as file:
        head = file.read(512)
    if not head.startswith(b"PK\x03\x04"):
        raise RegardError(f"this is {look_of(head)}", file=path, expected=EXPECTED, hint=_way_out(head))
    try:
        archive = ZipFile(path)
    except ZIP_ERRORS as error:
        raise _damaged(path, error) from error
    with archive:
        members = _checked_members(archive, path)
        yield TorchArchive(path, _top_folder(members, path), members, archive)


def look_of(head: bytes) -> str:
    """Say what a file that begins with ``head`` (some hundred bytes), and is no zip archive, looks like."""
    if not head:
        return "an empty file"
    if LEGACY_MAGIC in head[:32]:
        return "a checkpoint in torch's older, non-zip format (before torch 1.6)"
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "a web page, perhaps the log-in or error page that a download led to"
    if head[8:10] == b'{"':
        return "a safetensors file, whatever its name says"
    for signature, look in SIGNATURES:
        if head.startswith(signature):
            return look
    return f"not a torch checkpoint (it begins with {head[:8]!r})"


def _way_out(head: bytes) -> str | None:
    if LEGACY_MAGIC in head[:32]:
        return "if you trust the file, load it with torch.load and write it again with torch.save"
    return None


def _checked_members(archive: ZipFile, path: Path) -> dict[str, ZipInfo]:
    infos = archive.infolist()
    members = {info.filename: info for info in infos}
    if len(members) < len(infos):
        raise _damaged(path, "two members have the same name")
    if any(info.compress_type != ZIP_STORED for info in infos):
        raise RegardError(
            "a zip archive with compressed members, which torch never writes", file=path, expected=EXPECTED
        )
    if sum(info.file_size for info in infos) > path.stat().st_size:
        raise _damaged(path, "its members claim more bytes than the file has")
    return members


def _top_folder(members: Mapping[str, ZipInfo], path: Path) -> str:
    folders = [
        name.removesuffix("/data.pkl") for name in members if name.count("/") == 1 and name.endswith("/data.pkl")
    ]
    if len(folders) != 1:
        raise RegardError("a zip archive, but no torch checkpoint (it has no data.pkl)", file=path, expected=EXPECTED)
    folder = folders[0]
    if f"{folder}/constants.pkl" in members:
        raise RegardError("a TorchScript program, not a checkpoint", file=path, expected=EXPECTED)
    return folder


def _damaged(path: Path, why: object) -> RegardError:
    return RegardError(f"a torch checkpoint that is cut short or damaged ({why})", file=path, expected=EXPECTED)
