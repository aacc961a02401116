"""The record of programs that regard wrote: what is known, for whom, and for how long."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from regard.errors import RegardError, RegardWarning
from regard.runtimes import programs
from regard.runtimes.programs import read_program, record

posix = pytest.mark.skipif(sys.platform == "win32", reason="owners and modes as on POSIX")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / programs.FOLDER


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "a.bin").write_bytes(b"run me")
    return tmp_path / "a.bin"


def is_known(program: Path) -> bool:
    try:
        return read_program(program, "TorchScript", trust=False) == program.read_bytes()
    except RegardError:
        return False


@pytest.mark.usefixtures("store")
def test_only_what_was_recorded_is_known(program: Path) -> None:
    assert not is_known(program)
    assert read_program(program, "TorchScript", trust=True) == b"run me"
    record(b"run me", program)
    assert is_known(program)
    program.write_bytes(b"run me!")
    assert not is_known(program)


def test_the_oldest_are_forgotten_and_those_opened_are_not(
    store: Path, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "MOST_RECORDS", 3)
    record(b"run me", program)
    for i, entry in enumerate(store.iterdir()):
        os.utime(entry, (i, i))
    for i in range(3):
        if i == 2:
            assert is_known(program)  # which makes it the newest
        record(f"other {i}".encode(), program)
        for entry in store.iterdir():
            if entry.stat().st_mtime > 1000 and i < 2:
                os.utime(entry, (10 + i, 10 + i))
    assert is_known(program)
    assert len(list(store.iterdir())) == 3


@posix
def test_the_record_is_the_users_alone(store: Path, program: Path) -> None:
    record(b"run me", program)
    assert store.stat().st_mode & 0o777 == 0o700
    assert [entry.stat().st_mode & 0o777 for entry in store.iterdir()] == [0o600]
    store.chmod(0o777)
    assert not is_known(program)
    with pytest.warns(RegardWarning, match="other users"):
        record(b"run me", program)


@posix
@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="needs to give files to another user")
def test_a_record_of_another_user_counts_for_nothing(store: Path, program: Path) -> None:
    record(b"run me", program)
    (entry,) = store.iterdir()
    os.chown(entry, 4321, 4321)
    assert not is_known(program)
    os.chown(entry, 0, 0)
    os.chown(store, 4321, 4321)
    assert not is_known(program)


@posix
def test_a_link_to_a_record_elsewhere_is_none(store: Path, program: Path) -> None:
    record(b"run me", program)
    (entry,) = store.iterdir()
    entry.rename(program.parent / "elsewhere")
    entry.symlink_to(program.parent / "elsewhere")
    assert not is_known(program)


def test_a_cache_that_cannot_be_written_is_a_warning(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGARD_CACHE", str(program / "no-folder"))
    with pytest.warns(RegardWarning, match="will take --trust"):
        record(b"run me", program)
    assert not is_known(program)
