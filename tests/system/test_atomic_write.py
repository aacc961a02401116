"""A file is written whole or left as it was."""

from __future__ import annotations

import multiprocessing
import ntpath
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regard.errors import RegardError
from regard.system.files import (
    FORBIDDEN,
    atomic_write,
    check_folder,
    check_readable,
    claim_folder,
    make_folder,
    portable_name,
)
from regard.system.locks import exclusive
from regard.weights.store import load_weights


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


def test_what_is_planted_at_the_target_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    other, link = tmp_path / "other.txt", tmp_path / "link.txt"
    other.write_text("another's")
    link.symlink_to(other)
    with atomic_write(link) as file:
        file.write(b"new")
    assert other.read_text() == "another's"
    assert link.read_bytes() == b"new"
    assert not link.is_symlink()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(RegardError, match="cannot write the file") as caught, atomic_write(tmp_path / name):
            pass
        assert caught.value.file == tmp_path / name
    assert sorted(os.listdir(tmp_path)) == ["folder", "pipe"]


def test_an_error_of_a_file_that_is_read_is_not_blamed_on_the_one_that_is_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, atomic_write(tmp_path / "out.txt") as file:
        file.write((tmp_path / "input.txt").read_bytes())
    assert caught.value.filename == str(tmp_path / "input.txt")
    assert os.listdir(tmp_path) == []


def test_the_next_folder_is_the_first_free_one(tmp_path: Path) -> None:
    for name in ("train", "train-2", "train-3"):
        with claim_folder(None, tmp_path / "runs" / "train") as folder:
            assert folder == tmp_path / "runs" / name
            assert folder.is_dir()
            (folder / "a.txt").touch()


def test_an_empty_folder_is_removed_after_an_error_and_one_that_was_there_is_not(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for given in (None, tmp_path / "new", tmp_path / "there"):
        with pytest.raises(ValueError), claim_folder(given, tmp_path / "train"):
            raise ValueError
    assert os.listdir(tmp_path) == ["there"]
    with pytest.raises(ValueError), claim_folder(tmp_path / "new"):
        raise ValueError((tmp_path / "new" / "a.txt").touch())
    assert (tmp_path / "new" / "a.txt").exists()


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for given, default in ((tmp_path / "file" / "a", tmp_path), (None, tmp_path / "file" / "train")):
        with pytest.raises(RegardError, match="is a file"), claim_folder(given, default):
            pass


def claim(start: Any, parent: Path, given: Path | None, names: Any) -> None:
    start.wait()
    try:
        with claim_folder(given, parent / "train") as folder:
            names.put(folder.name)
            start.wait()
    except RegardError:
        names.put("")
        start.wait()


@pytest.mark.parametrize("given", [None, "out"])
def test_commands_that_start_together_never_share_a_folder(tmp_path: Path, given: str | None) -> None:
    """Each of three processes claims at the same moment; of a folder that was named one gets it."""
    context, count = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn"), 3
    for k in range(20 if sys.platform == "linux" and given is None else 2):
        parent = tmp_path / str(k)
        parent.mkdir()
        start, names = context.Barrier(count), context.Queue()
        arguments = (start, parent, parent / given if given else None, names)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the process has threads, which do nothing now
            processes = [context.Process(target=claim, args=arguments) for _ in range(count)]
            for process in processes:
                process.start()
        found = sorted(names.get() for _ in processes)
        for process in processes:
            process.join()
        assert found == (["", "", given] if given else ["train", "train-2", "train-3"])


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


def test_a_lock_belongs_to_one_at_a_time(tmp_path: Path) -> None:
    with exclusive(tmp_path / "a.lock"), pytest.raises(BlockingIOError), exclusive(tmp_path / "a.lock"):
        pass
    with exclusive(tmp_path / "a.lock"):
        pass


def test_a_folder_is_made_unless_a_file_is_in_its_place(tmp_path: Path) -> None:
    assert make_folder(tmp_path / "a" / "b") == make_folder(tmp_path / "a" / "b")
    (tmp_path / "a" / "file").write_text("mine")
    for place in (tmp_path / "a" / "file", tmp_path / "a" / "file" / "b" / "c"):
        for function in (check_folder, make_folder):
            with pytest.raises(RegardError, match="is a file") as caught:
                function(place)
            assert caught.value.file == tmp_path / "a" / "file"
        with pytest.raises(RegardError, match="is a file"), claim_folder(place):
            pass
    assert not check_folder(tmp_path / "c").exists()


def test_a_claimed_folder_that_stays_empty_leaves_no_trace(tmp_path: Path) -> None:
    with claim_folder(tmp_path / "a" / "b" / "c"), claim_folder(None, tmp_path / "runs" / "train"):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    file.touch(0o000)
    with pytest.raises(RegardError, match=r"a\.safetensors: cannot be read: Permission denied"):
        load_weights(file)


def test_a_lock_of_the_user_stays(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    for name in (".lock", "runs/.lock", "yarn.lock"):
        (tmp_path / name).write_text("mine")
    with claim_folder(tmp_path):
        pass
    assert [(tmp_path / name).read_text() for name in (".lock", "runs/.lock", "yarn.lock")] == ["mine"] * 3


def test_a_file_that_cannot_be_read_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RegardError, match="cannot be read: No such file"):
        check_readable(tmp_path / "absent")
    (tmp_path / "there").touch()
    check_readable(tmp_path / "there")
