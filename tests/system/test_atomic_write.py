"""A file is written whole or left as it was."""

from __future__ import annotations

import ntpath
import sys
from pathlib import Path

import numpy as np
import pytest

from regard.errors import RegardError
from regard.system.files import FORBIDDEN, atomic_write, exclusive, increment_path, portable_name


def test_a_finished_write_takes_the_place(tmp_path: Path) -> None:
    path = tmp_path / "w.bin"
    path.write_bytes(b"old")
    with atomic_write(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert [file.name for file in tmp_path.iterdir()] == ["w.bin"]


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "w.bin"
    path.write_bytes(b"old")

    def interrupted() -> None:
        with atomic_write(path) as file:
            file.write(b"ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["w.bin"]


def test_a_folder_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "absent" / "w.bin"
    with pytest.raises(RegardError, match="cannot write the file") as caught, atomic_write(path) as file:
        file.write(b"new")
    assert caught.value.file == path


def test_the_next_folder_is_the_first_free_one(tmp_path: Path) -> None:
    assert increment_path(tmp_path, "train") == tmp_path / "train"
    for name in ("train", "train-2"):
        (tmp_path / name).mkdir()
    assert increment_path(tmp_path, "train") == tmp_path / "train-3"


@pytest.mark.parametrize(
    "name", ["a.jpg", "video.mp4#17", "a<b>.txt", "con", "CON.txt", "Lpt1.a.b", "dots...", "  ", "a\nb"]
)
def test_a_portable_name_is_valid_everywhere_and_stays_so(name: str) -> None:
    made = portable_name(name)
    assert made == made.rstrip(" .") != ""
    assert not set(made) & set(FORBIDDEN)
    assert made.split(".")[0].lower() not in ("con", "lpt1")
    assert portable_name(made) == made


@pytest.mark.skipif(sys.version_info < (3, 13), reason="Python 3.13 knows the names that Windows reserves")
def test_a_portable_name_is_none_that_windows_reserves() -> None:
    rng = np.random.default_rng(0)
    for _ in range(4999):
        parts = rng.choice(["con", "Nul", "COM¹", "lpt7", "conin$", "a", ".", " ", ":", "?", "\x07", "/"], 5)
        assert not ntpath.isreserved(portable_name("".join(parts)))


def test_a_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    with exclusive(tmp_path / "a.lock"), pytest.raises(BlockingIOError), exclusive(tmp_path / "a.lock"):
        pass
    with exclusive(tmp_path / "a.lock"):
        pass
