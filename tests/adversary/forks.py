"""Runs ``regard`` in forks of a process that has imported everything, to kill it or to take rights and disk away."""

from __future__ import annotations

import fcntl
import importlib
import io
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

SECONDS = 600.0
"""Time that a command may take."""
ORPHAN_SECONDS = 15.0
"""Time in which the children of a killed command have to end."""
DROPPED = ("XDG_", "REGARD_", "MPL", "HOME", "TMPDIR")


@dataclass(frozen=True)
class Result:
    """What a command did; the code is negative where a signal ended it."""

    code: int
    output: str
    seconds: float
    orphans: tuple[str, ...] = ()


def import_everything() -> None:
    """Import what commands import, so that forks begin at once."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import pkgutil

    import regard

    for module in pkgutil.walk_packages(regard.__path__, "regard."):
        if not module.name.endswith("__main__"):
            __import__(module.name)
    for name in ("torch.onnx", "onnxruntime", "onnxscript", "regard.visualize.plots"):
        __import__(name)


def command(
    argv: tuple[str, ...],
    folder: Path,
    *,
    environment: Mapping[str, str] | None = None,
    prepare: Callable[[], object] = lambda: None,
    conclude: Callable[[], object] = lambda: None,
    kill_after: float | None = None,
) -> Result:
    """Run ``regard`` in a folder, with its home, cache and temporary folder there.

    Args:
        argv: the arguments.
        folder: the current folder.
        environment: variables that differ.
        prepare: called in the fork before the command.
        conclude: called in the fork after it.
        kill_after: seconds until it is killed, if it still runs then.
    """

    def work() -> None:
        for name in [name for name in os.environ if name.startswith(DROPPED)]:
            del os.environ[name]
        own = {
            "REGARD_BACKEND": "torch",
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "tmp"),
            "REGARD_CACHE": str(folder / "cache"),
        }
        os.environ.update(own | dict(environment or {}))
        tempfile.tempdir = None
        os.chdir(folder)
        sys.argv = ["regard", *argv]
        prepare()
        from regard.__main__ import main

        try:
            main()
        finally:
            conclude()

    return fork(work, kill_after)


def import_as_needed(argv: tuple[str, ...], folder: Path) -> None:
    """Import what a command does, so that a user who may not read this interpreter's files can run it in a fork."""
    done = command(argv, folder, conclude=lambda: print("\n" + " ".join(sys.modules)))
    assert done.code == 0, done.output
    for name in done.output.splitlines()[-1].split():
        with suppress(Exception):
            importlib.import_module(name)


def fork(work: Callable[[], object], kill_after: float | None = None) -> Result:
    """Call a function in a fork; what it prints is the output, and its exception the end of that and exit code 70."""
    reader, writer = os.pipe()
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 2**20)
    fcntl.fcntl(reader, fcntl.F_SETFL, os.O_NONBLOCK)
    start = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _work(work, writer)
    os.close(writer)
    end, children = start + (SECONDS if kill_after is None else kill_after), []
    while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
        if time.monotonic() > end:
            children = psutil.Process(pid).children(recursive=True)
            os.kill(pid, signal.SIGKILL)
            ended = os.waitpid(pid, 0)
            break
        time.sleep(0.003)
    seconds = time.monotonic() - start
    orphans = _left(children)
    try:
        output = os.read(reader, 2**20).decode(errors="backslashreplace")
    except BlockingIOError:  # nothing was written, and an orphan could still
        output = ""
    os.close(reader)
    return Result(os.waitstatus_to_exitcode(ended[1]), output, seconds, orphans)


def _work(work: Callable[[], object], writer: int) -> None:
    code = 70
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(writer, 1)
        os.dup2(writer, 2)
        sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", 0, closefd=False), write_through=True)
        sys.stderr = io.TextIOWrapper(os.fdopen(2, "wb", 0, closefd=False), write_through=True)
        work()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _left(children: list[psutil.Process]) -> tuple[str, ...]:
    """Which of the processes still run; they are killed."""
    _, alive = psutil.wait_procs(children, ORPHAN_SECONDS)
    left = []
    for process in alive:
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                left.append(" ".join(process.cmdline())[:100])
                process.kill()
        except psutil.NoSuchProcess:
            continue
    return tuple(left)
