"""Where runs get their processes from: ``python -m regard.ablate.nursery`` has all imported and forks for each run.

A line on its standard input is the folder of a run, as JSON. A fork of it brings the run to its end, as
``regard.ablate.worker`` does, and the fork's exit code is a line on its standard output. A fork ends with the nursery,
and both end with the process that holds the other end of the standard input, however that ends.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

from regard.ablate.folder import LOG
from regard.ablate.worker import end_with, run_job
from regard.allocator import keep_freed_memory


class Nursery:
    """One process at a time for runs that follow each other; importing takes longer than some epochs, a fork nothing.

    Args:
        environment: added to this process's.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, folder: Path) -> Fork:
        """Start a process for a run, with the nursery itself where it is not there or has died."""
        if self.process is None or self.process.poll() is not None:
            self.close()
            with (folder / LOG).open("ab") as log:  # of what goes wrong before there is a fork
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "regard.ablate.nursery"],
                    bufsize=0,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env={**os.environ, **self.environment},
                )
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # where it died just now, as its fork will tell
            self.process.stdin.write(json.dumps(str(folder)).encode() + b"\n")
        return Fork(self.process)

    def close(self) -> None:
        """End the process, and its fork."""
        if self.process:
            _end(self.process)


class Fork:
    """The process of one run.

    Args:
        nursery: the process it comes from.
    """

    def __init__(self, nursery: subprocess.Popen[bytes]) -> None:
        self.nursery = nursery
        self.code: int | None = None

    def poll(self) -> int | None:
        """Return the exit code; None while the process runs."""
        if self.code is None:
            said = _pipe(self.nursery.stdout)
            if select.select([said], [], [], 0)[0]:
                line = said.readline()
                self.code = int(line) if line else self.nursery.wait()
        return self.code

    def stop(self) -> None:
        """End the process where it still runs; the nursery ends with it."""
        if self.poll() is None:
            self.code = _end(self.nursery)


def _end(process: subprocess.Popen[bytes]) -> int:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        _pipe(pipe).close()
    return process.wait()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def main() -> None:
    """Bring every run that standard input names to its end, each in a fork."""
    keep_freed_memory()
    while line := sys.stdin.readline():
        lifeline, held = os.pipe()
        child = os.fork()
        if not child:
            os.close(held)
            _begin(Path(json.loads(line)), lifeline)
            return
        os.close(lifeline)
        _, status = os.waitpid(child, 0)
        os.close(held)
        try:
            print(os.waitstatus_to_exitcode(status), flush=True)
        except BrokenPipeError:  # nobody waits any more
            os._exit(1)


def _begin(folder: Path, lifeline: int) -> None:
    log = os.open(folder / LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for descriptor in (sys.stdout.fileno(), sys.stderr.fileno()):
        os.dup2(log, descriptor)
    end_with(sys.stdin.fileno(), lifeline)
    run_job(folder)


if __name__ == "__main__":
    main()
