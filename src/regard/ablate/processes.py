"""One run in a separate process: forked from a server on Linux, spawned elsewhere, with one contract for both.

``python -m regard.ablate.processes FOLDER DIGEST...`` completes these jobs one after the other. With ``--serve`` it has
everything imported and forks a process for each job that a line on its standard input names; the exit code of each fork
is a line on its standard output. Importing takes longer than some epochs, a fork no time. Modules are never imported
from the working folder, which may hold anybody's files.

Every process ends with the one that started it, however that ends: its standard input is a pipe from there, which the
system closes then. Its output goes to the run's ``log.txt``. A run ends with ``result.json`` or ``failure.json``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import psutil
import torch

from regard.ablate.folder import (
    FAILURE,
    LOG,
    RESULT,
    START,
    VAL,
    Document,
    is_over,
    locked_run,
    read_run,
)
from regard.ablate.hardware import device_here
from regard.ablate.trainable import Budget, Job, Trainable, describe_failure, load_trainable
from regard.system.allocator import keep_freed_memory
from regard.system.resources import peak_memory
from regard.training.folder import RunFolder

MIB = 2**20
SERVE = "--serve"
COMMAND = (sys.executable, "-P", "-m", "regard.ablate.processes")


class SpawnedProcess(subprocess.Popen[bytes]):
    """A new Python process that completes jobs one after the other; its output goes to the log of the first.

    Args:
        jobs: what to complete.
        environment: added to this process's.
    """

    def __init__(self, jobs: Sequence[Job], environment: Mapping[str, str]) -> None:
        with (jobs[0].folder / LOG).open("ab") as log:
            super().__init__(
                [*COMMAND, *(text for job in jobs for text in (str(job.folder), job.digest))],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
            )

    def stop(self) -> None:
        """Kill the process and its children, if they still run."""
        kill_tree(self.pid)
        self.kill()
        self.wait()
        if self.stdin:
            self.stdin.close()


class SpawnedProcesses:
    """A new Python process for each run.

    Args:
        environment: added to this process's.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment

    def start(self, job: Job) -> SpawnedProcess:
        """Start a process that completes the run."""
        return SpawnedProcess([job], self.environment)

    def close(self) -> None:
        """Nothing runs between runs."""


class ForkServer:
    """A process that forks one process at a time, for runs that follow each other.

    Args:
        environment: added to this process's.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, job: Job) -> ForkedProcess:
        """Start a process that completes the run, and the server itself if it does not run."""
        if self.process is None or self.process.poll() is not None:
            self.close()
            with (job.folder / LOG).open("ab") as log:  # for what fails before there is a fork
                self.process = subprocess.Popen(
                    [*COMMAND, SERVE],
                    bufsize=0,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env={**os.environ, **self.environment},
                )
        with suppress(BrokenPipeError):  # if it has just died, its fork reports it
            _pipe(self.process.stdin).write(json.dumps([str(job.folder), job.digest]).encode() + b"\n")
        return ForkedProcess(self.process)

    def close(self) -> None:
        """End the server, and its fork."""
        if self.process:
            kill_tree(self.process.pid)
            self.process.kill()
            self.process.wait()
            for pipe in (self.process.stdin, self.process.stdout):
                _pipe(pipe).close()


class ForkedProcess:
    """The process of one run.

    Args:
        server: the process that forks it.
    """

    def __init__(self, server: subprocess.Popen[bytes]) -> None:
        self.server = server
        self.code: int | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def poll(self) -> int | None:
        """Exit code; None while the process runs."""
        return self.code

    def stop(self) -> None:
        """Kill the process if it still runs; the server ends with it."""
        if self.code is None:
            kill_tree(self.server.pid)
            self.server.kill()
        self._reader.join()

    def _read(self) -> None:
        line = _pipe(self.server.stdout).readline()
        self.code = int(line) if line else self.server.wait()


def process_source(environment: Mapping[str, str]) -> ForkServer | SpawnedProcesses:
    """Choose the fastest source of processes: a fork server on Linux; other systems' frameworks do not bear forks."""
    can_fork = sys.platform == "linux" and hasattr(os, "fork")
    return ForkServer(environment) if can_fork else SpawnedProcesses(environment)


def kill_tree(pid: int) -> None:
    """Kill all processes that descend from one, such as those that load its data."""
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()


def run_job(job: Job) -> None:
    """Complete a run, or do nothing if it has ended."""
    folder = job.folder
    with locked_run(folder):
        if is_over(folder):
            return
        out = RunFolder(folder)
        try:
            result = _train_and_evaluate(folder, job.read())
        except Exception as error:  # an error of a variant is its result; the other runs continue
            traceback.print_exc()
            out.write_json(FAILURE, {"error": describe_failure(error)})
            return
        out.write_json(RESULT, result)
        for name in (START, "state.pt"):  # only needed to continue
            (folder / name).unlink(missing_ok=True)


def make_trainable(folder: Path, job: Mapping[str, Any]) -> Trainable:
    """Make the run that a job describes.

    Raises:
        RegardError: its class cannot be found.
    """
    kind: Any = load_trainable(job["trainable"])
    made: Trainable = kind(folder, **job["arguments"])
    return made


def _train_and_evaluate(folder: Path, job: Mapping[str, Any]) -> Document:
    began = time.monotonic()
    trainable = make_trainable(folder, job)
    trainable.train(Budget(**job["budget"]))
    trained = time.monotonic() - began
    evaluation = trainable.evaluate("val")
    RunFolder(folder).write(VAL, json.dumps(evaluation.images))
    return {
        "metrics": dict(evaluation.metrics),
        "per_class": dict(evaluation.per_class),
        "gates": dict(evaluation.gates),
        "seconds": read_run("", 0, folder).seconds or trained,
        "peak_mib": peak_mib(job["device"]),
        "weights": evaluation.fingerprint,
    }


def peak_mib(device: str) -> float:
    """Peak memory in MiB: of the GPU if ``device`` is one, else of this process."""
    if device_here(device) == "cuda":
        return torch.cuda.max_memory_reserved() / MIB
    return peak_memory() / MIB


def end_with(*pipes: int) -> None:
    """End this process when the other end of any of these pipes is closed; nothing may be written to them."""

    def wait(pipe: int) -> None:
        os.read(pipe, 1)
        os._exit(1)

    for pipe in pipes:
        threading.Thread(target=wait, args=(pipe,), daemon=True).start()


def serve() -> None:
    """Complete every run that standard input names, each in a fork."""
    # Nothing has been computed yet, so that of the threads only those of libraries exist, which mind forks themselves.
    warnings.filterwarnings("ignore", message="This process .* is multi-threaded", category=DeprecationWarning)
    while line := sys.stdin.readline():
        lifeline, writer = os.pipe()
        child = os.fork()
        if not child:
            os.close(writer)
            folder, digest = json.loads(line)
            _run_fork(Job(Path(folder), digest), lifeline)
            return
        os.close(lifeline)
        _, status = os.waitpid(child, 0)
        os.close(writer)
        try:
            print(os.waitstatus_to_exitcode(status), flush=True)
        except BrokenPipeError:  # no process is waiting any more
            os._exit(1)


def _run_fork(job: Job, lifeline: int) -> None:
    log = os.open(job.folder / LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for descriptor in (sys.stdout.fileno(), sys.stderr.fileno()):
        os.dup2(log, descriptor)
    end_with(sys.stdin.fileno(), lifeline)
    run_job(job)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def main() -> None:
    """Complete the jobs named on the command line, or serve forks."""
    keep_freed_memory()
    if sys.argv[1:] == [SERVE]:
        serve()
        return
    end_with(sys.stdin.fileno())
    for folder, digest in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        run_job(Job(Path(folder), digest))


if __name__ == "__main__":
    main()
