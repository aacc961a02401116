"""The last word on what the system does."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool

import pytest
import torch

from regard.system.last_resort import last_word


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (KeyboardInterrupt(), 130, "stopped"),
        (BrokenPipeError(), 141, ""),
        (MemoryError(), 1, "out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), 1, "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 1, "out of memory"),
        (PermissionError(13, "Permission denied", "a\x1b[2J"), 1, "a\\x1b[2J: Permission denied"),
        (OSError("odd"), 1, "odd"),
        (UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"), 1, "cannot be encoded"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), 1, "killed"),
        (BrokenProcessPool("A process in the process pool was terminated abruptly"), 1, "killed"),
    ],
)
def test_what_the_system_does_has_one_line(error: BaseException, code: int, text: str) -> None:
    word = last_word(error)
    assert word is not None
    assert word.code == code
    assert text in word.text
    assert word.text.isprintable()


@pytest.mark.parametrize("error", [ValueError("x"), TypeError(), AssertionError("killed"), RuntimeError("shape")])
def test_a_fault_of_the_program_keeps_its_traceback(error: BaseException) -> None:
    assert last_word(error) is None


def test_a_full_device_behind_standard_output_is_reported() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    with open("/dev/full", "wb") as full:
        argv = [sys.executable, "-m", "regard", "--version"]
        done = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "No space left on device" in done.stderr


def test_an_interpreter_whose_reader_has_gone_ends_quietly() -> None:
    lines = ("from regard.system.last_resort import flush_output", "sys = __import__('sys')", "sys.stdout.write('x')")
    code = "\n".join((*lines, "flush_output()"))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(["true"], stdin=subprocess.PIPE) as reader:
        reader.wait()
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=reader.stdin, stderr=subprocess.PIPE, check=False, env=environment
        )
    assert (done.returncode, done.stderr) == (0, b"")
