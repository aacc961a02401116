"""Files that are no torch zip checkpoint are rejected by what they look like."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save as to_safetensors

from regard.errors import RegardError
from regard.weights.archive import open_archive

Forge = Callable[..., Path]


def rejection(path: Path) -> str:
    with pytest.raises(RegardError) as caught, open_archive(path) as archive:
        archive.read("data/0")
    assert str(path) in str(caught.value)
    return str(caught.value)


def legacy() -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save({"a": torch.zeros(3)}, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "look"),
    [
        (b"", "an empty file"),
        (b"\n <!DOCTYPE html><html>", "a web page"),
        (b"<HTML><head>", "a web page"),
        (legacy(), "older, non-zip format"),
        (b"\x80\x04N.", "a bare pickle"),
        (to_safetensors({"a": torch.zeros(3)}), "a safetensors file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"\x1f\x8b\x08", "a gzip file"),
        (b"hello", r"begins with b'hello'"),
        (b"PK\x03\x04" + bytes(100), "truncated or damaged"),
    ],
)
def test_says_what_the_file_looks_like(content: bytes, look: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    assert look in rejection(path)


def test_the_older_format_says_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "old.pt").write_bytes(legacy())
    assert "save it again with torch.save" in rejection(tmp_path / "old.pt")


def test_truncated(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(101)}, tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    (tmp_path / "half.pt").write_bytes(whole[: len(whole) // 2])
    assert "truncated or damaged" in rejection(tmp_path / "half.pt")


def test_torchscript(forge: Forge) -> None:
    assert "TorchScript" in rejection(forge(b"N.", **{"constants.pkl": b"N."}))


def test_another_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.pt", "w") as archive:
        archive.writestr("word/document.xml", "")
    assert "no data.pkl" in rejection(tmp_path / "other.pt")


def test_a_bomb_is_rejected_before_it_is_inflated(forge: Forge) -> None:
    assert "compressed members" in rejection(forge(b"N.", zipfile.ZIP_DEFLATED, data__0=bytes(10_000_000)))


def test_a_missing_member(forge: Forge) -> None:
    assert "has no member 'data/0'" in rejection(forge(b"N."))


def test_a_member_twice(forge: Forge) -> None:
    path = forge(b"N.", data__0=b"1234")
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("archive/data/0", b"5678")
    assert "same name" in rejection(path)


def test_members_that_claim_more_than_the_file(forge: Forge) -> None:
    path = forge(b"N.", data__0=b"1234")
    entry = b"PK\x01\x02"
    data = bytearray(path.read_bytes())
    start = data.index(entry, data.index(entry) + 1)
    data[start + 20 : start + 28] = struct.pack("<II", 2**31, 2**31)  # compressed and plain size in the directory
    path.write_bytes(data)
    assert "larger than the file" in rejection(path)


def test_changed_numbers_are_noticed(forge: Forge) -> None:
    path = forge(b"N.", data__0=b"1234")
    path.write_bytes(path.read_bytes().replace(b"1234", b"1235"))
    assert "damaged" in rejection(path)


def test_reads_a_member_whole(forge: Forge) -> None:
    with open_archive(forge(b"N.", data__0=b"1234")) as archive:
        assert (archive.read("data.pkl"), archive.read("data/0")) == (b"N.", b"1234")
