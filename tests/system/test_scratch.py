"""Temporary files say whose they are, and those of killed processes are removed by the next one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from regard.errors import RegardError
from regard.system import scratch
from regard.system.files import atomic_write, claim_folder
from regard.system.locks import LOCK, exclusive
from regard.system.scratch import LOCK_SUFFIX, PREFIX, is_scratch, scratch_folder, scratch_path, sweep

LEAVE = """\
import os, signal, sys
from pathlib import Path
from regard.system.files import atomic_write, claim_folder
from regard.system.scratch import scratch_folder
with claim_folder({given}, Path("runs", "train")) as folder:
    (folder / "labels").mkdir()
    with scratch_folder(folder) as one, atomic_write(folder / "labels" / "a.txt") as file:
        (one / "big.bin").write_bytes(b"0" * 1000)
        print(folder, flush=True)
        {last}
"""


def leave(cwd: Path, given: str = "None", last: str = "os.kill(os.getpid(), signal.SIGKILL)") -> subprocess.Popen[str]:
    code = LEAVE.format(given=given, last=last)
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=cwd, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )


def hidden(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob(".*"))


def test_what_a_killed_command_left_is_removed_by_the_next_one_and_its_folder_stays(tmp_path: Path) -> None:
    with leave(tmp_path) as process:
        process.communicate()
    assert len(hidden(tmp_path)) == 3  # the lock, a folder, and a file further down
    with claim_folder(None, tmp_path / "runs" / "train") as folder:
        assert folder.name == "train-2"
        assert hidden(tmp_path) == [f"runs/train-2/{LOCK}"]
        (folder / "kept.txt").touch()
    assert hidden(tmp_path) == []


def test_what_was_left_in_a_folder_that_is_named_again_is_removed(tmp_path: Path) -> None:
    with leave(tmp_path, "'out'") as process:
        process.communicate()
    assert hidden(tmp_path)
    with claim_folder(tmp_path / "out"):
        assert hidden(tmp_path) == [f"out/{LOCK}"]


def test_the_files_of_a_living_process_stay(tmp_path: Path) -> None:
    with leave(tmp_path, last="sys.stdin.read()") as process:
        assert process.stdout
        process.stdout.readline()
        before = hidden(tmp_path)
        assert len(before) == 3
        with claim_folder(None, tmp_path / "runs" / "train"):
            pass
        sweep(tmp_path, deep=True)
        assert hidden(tmp_path) == before
        with pytest.raises(RegardError, match="another command works"), claim_folder(tmp_path / "runs" / "train"):
            pass
        process.communicate("")
    assert hidden(tmp_path) == []


def test_a_first_write_sweeps_its_folder(tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-c", "from regard.system.scratch import *; print(scratch_path(Path('.')).name)"],
        capture_output=True,
        text=True,
        check=True,
    )
    left = tmp_path / process.stdout.strip()
    left.touch()
    with atomic_write(tmp_path / "a.txt") as file:
        file.write(b"1")
    assert not left.exists()


def test_a_number_that_another_process_has_taken_up_is_no_owner(tmp_path: Path) -> None:
    pid = os.getpid()
    parts = scratch_path(tmp_path).name.split("-")
    old, now = (tmp_path / "-".join([*parts[:3], str(when), parts[4]]) for when in (1000, int(time.time())))
    assert parts[2] == str(pid)
    for path in (old, now):
        path.touch()
    sweep(tmp_path)
    assert not old.exists()
    assert now.exists()


def test_those_of_another_machine_go_when_they_are_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = scratch_path(tmp_path).name.split("-")
    name = "-".join([dead[0], "00000000", *dead[2:]])
    (tmp_path / name).mkdir()
    assert is_scratch(name)
    sweep(tmp_path)
    assert os.listdir(tmp_path) == [name]
    monkeypatch.setattr(scratch, "FOREIGN_SECONDS", -1)
    sweep(tmp_path)
    assert os.listdir(tmp_path) == []


def test_nothing_else_is_removed(tmp_path: Path) -> None:
    names = (".regard-notes", ".hidden.tmp", ".a.txt.123-abcd.tmp", "x.tmp", ".export-taxes", ".making-of")
    for name in names:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    sweep(tmp_path, deep=True)
    assert len(os.listdir(tmp_path)) == len(names)


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs links")
def test_a_link_is_removed_and_not_followed(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    outside.mkdir()
    folder.mkdir()
    (outside / "kept.txt").touch()
    parts = scratch_path(tmp_path).name.split("-")
    link = folder / "-".join([*parts[:2], "999999999", *parts[3:]])
    link.symlink_to(outside)
    sweep(folder)
    assert not link.is_symlink()
    assert (outside / "kept.txt").exists()


def test_a_lock_that_nobody_holds_is_removed(tmp_path: Path) -> None:
    held, free = (tmp_path / f"{PREFIX}{name}{LOCK_SUFFIX}" for name in ("held", "free"))
    free.touch()
    with exclusive(held):
        sweep(tmp_path)
        assert os.listdir(tmp_path) == [held.name]


def test_only_this_user_enters_a_temporary_folder(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as folder:
        assert folder.stat().st_mode & 0o077 == 0 or os.name == "nt"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root, to make files of others")
def test_those_of_another_user_stay(tmp_path: Path) -> None:
    parts = scratch_path(tmp_path).name.split("-")
    path = tmp_path / "-".join([*parts[:2], "999999999", *parts[3:]])
    path.touch()
    os.chown(path, 12345, 12345)
    sweep(tmp_path)
    assert path.exists()
    os.chown(path, 0, 0)
    sweep(tmp_path)
    assert not path.exists()
