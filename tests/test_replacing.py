"""A file is written whole or left as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from regard.errors import RegardError
from regard.replacing import replacing


def test_a_finished_write_takes_the_place(tmp_path: Path) -> None:
    path = tmp_path / "w.bin"
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert [file.name for file in tmp_path.iterdir()] == ["w.bin"]


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "w.bin"
    path.write_bytes(b"old")

    def interrupted() -> None:
        with replacing(path) as file:
            file.write(b"ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["w.bin"]


def test_a_folder_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "absent" / "w.bin"
    with pytest.raises(RegardError, match="cannot write the file") as caught, replacing(path) as file:
        file.write(b"new")
    assert caught.value.file == path
