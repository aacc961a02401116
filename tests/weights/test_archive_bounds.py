"""How much text and how many tensors a checkpoint may have; an archive of a few bytes must not become gigabytes."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from regard.errors import RegardError
from regard.weights import archive
from regard.weights.unpickle import read_pickle


def checkpoint(file: Path, pickle: bytes, members: int = 0) -> Path:
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("archive/data.pkl", pickle)
        for i in range(members):
            made.writestr(f"archive/data/{i}", b"")
    return file


def test_a_long_pickle_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"\x80\x02]" + b"(" + b"K\x01" * 50 + b"e."
    assert read_pickle(checkpoint(tmp_path / "a.pt", text)) == [1] * 50
    monkeypatch.setattr(archive, "MOST_PICKLE", len(text) - 1)
    with pytest.raises(RegardError, match="the pickle in it has"):
        read_pickle(checkpoint(tmp_path / "b.pt", text))


def test_too_many_members_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_MEMBERS", 5)
    assert read_pickle(checkpoint(tmp_path / "a.pt", b"\x80\x02K\x07.", 4)) == 7
    with pytest.raises(RegardError, match="an archive of 6 members"):
        read_pickle(checkpoint(tmp_path / "b.pt", b"\x80\x02K\x07.", 5))
