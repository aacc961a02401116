"""Where runs are executed: one interface, and this machine behind it. The other, Ray, is in ``cluster``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from regard.ablate.folder import FAILURE, LOG, is_over, read_run
from regard.ablate.hardware import Hardware, hardware_here
from regard.ablate.machine import free_mib, usable_cores
from regard.ablate.nursery import Nursery
from regard.errors import RegardError
from regard.training.folder import RunFolder

ATTEMPTS = 3
"""Times that a run's process may die without finishing an epoch before the run is given up."""

PAUSE = 0.1
"""Seconds between looks at the processes."""

SPARE = 0.9
"""Part of the free memory that runs may fill."""


class Executor(Protocol):
    """Something that brings runs to their end."""

    def run(self, folders: Sequence[Path]) -> Generator[Path, None, None]:
        """Execute every run and yield its folder once it is over, finished or failed; closing it stops the others.

        All state is in the folders, so what was interrupted continues when the same folders are given again.
        """

    def hardware(self, train: Mapping[str, Any]) -> Hardware:
        """Return what settings of a training mean where the runs will be."""


class Process(Protocol):
    """The process of a run."""

    def poll(self) -> int | None:
        """Return the exit code; None while the process runs."""

    def stop(self) -> None:
        """End the process, whether it has ended or not."""


class Source(Protocol):
    """Where the processes of runs come from."""

    def start(self, folder: Path) -> Process:
        """Start a process that brings the run to its end."""

    def close(self) -> None:
        """End what is there between runs."""


class LocalExecutor:
    """Runs on this machine, several at a time, each in a process of its own.

    Args:
        slots: one mapping a process at a time: what is added to its environment.
    """

    def __init__(self, slots: Sequence[Mapping[str, str]]) -> None:
        self.slots = list(slots)

    def run(self, folders: Sequence[Path]) -> Generator[Path, None, None]:
        """Execute runs; see ``Executor``."""
        sources = [source_of(slot) for slot in self.slots[: len(folders)]]
        waiting, free = deque(folders), sources.copy()
        running: list[tuple[Path, Attempts, Source]] = []
        try:
            while waiting or running:
                while waiting and free:
                    source, folder = free.pop(0), waiting.popleft()
                    running.append((folder, Attempts(folder, source), source))
                time.sleep(PAUSE)
                for entry in [e for e in running if e[1].is_over()]:
                    running.remove(entry)
                    free.append(entry[2])
                    yield entry[0]
        finally:
            for _, attempts, _ in running:
                attempts.stop()
            for source in sources:
                source.close()

    def hardware(self, train: Mapping[str, Any]) -> Hardware:
        """Return what settings of a training mean on this machine."""
        return hardware_here(train)


class Attempts:
    """The process of one run, started again where it dies without a word.

    Args:
        folder: of the run.
        source: of its processes.
    """

    def __init__(self, folder: Path, source: Source) -> None:
        self.folder, self.source = folder, source
        self.deaths = 0
        self._start()

    def _start(self) -> None:
        self.epochs = self._epochs()
        self.process = self.source.start(self.folder)

    def is_over(self) -> bool:
        """Whether the run has ended; a dead process is replaced, or its run given up."""
        code = self.process.poll()
        if code is None:
            return False
        self.stop()
        if not is_over(self.folder):
            self.deaths = self.deaths + 1 if self._epochs() == self.epochs else 1
            if self.deaths < ATTEMPTS:
                self._start()
                return False
            RunFolder(self.folder).write_json(FAILURE, {"error": describe_death(code)})
        return True

    def wait(self) -> None:
        """Return when the run has ended."""
        try:
            while not self.is_over():
                time.sleep(PAUSE)
        finally:
            self.stop()

    def stop(self) -> None:
        """End the process."""
        self.process.stop()

    def _epochs(self) -> int:
        return len(read_run("", 0, self.folder).curve)


class Worker(subprocess.Popen[bytes]):
    """A new process that brings runs to their end one after the other; what it prints goes to the first's log.

    Args:
        folders: of the runs.
        environment: added to this process's.
    """

    def __init__(self, folders: Sequence[Path], environment: Mapping[str, str]) -> None:
        with (folders[0] / LOG).open("ab") as log:
            super().__init__(
                [sys.executable, "-m", "regard.ablate.worker", *map(str, folders)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
            )

    def stop(self) -> None:
        """End the process, whether it has ended or not."""
        self.kill()
        self.wait()
        if self.stdin:
            self.stdin.close()


class NewProcesses:
    """A new process for each run.

    Args:
        environment: added to this process's.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment

    def start(self, folder: Path) -> Worker:
        """Start one."""
        return Worker([folder], self.environment)

    def close(self) -> None:
        """There is nothing between runs."""


def source_of(environment: Mapping[str, str]) -> Source:
    """Return what is quickest here: forks, but on macOS, whose frameworks do not bear being forked."""
    return NewProcesses(environment) if sys.platform == "darwin" else Nursery(environment)


def describe_death(code: int) -> str:
    """Say how a process ended that left no result."""
    if code == -signal.SIGKILL:
        return f"the process was killed {ATTEMPTS} times in one epoch; probably out of memory (see {LOG})"
    if code < 0:
        return f"the process ended {ATTEMPTS} times by {signal.Signals(-code).name} (see {LOG})"
    return f"the process ended {ATTEMPTS} times with code {code} (see {LOG})"


def thread_environment(threads: int) -> dict[str, str]:
    """Return the environment of a process that computes in so many threads."""
    return {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}


def local_slots(
    peak_mib: float, threads: int, processes: int | None, gpus: Sequence[float] = ()
) -> list[dict[str, str]]:
    """Return the slots of this machine: as many as free memory and cores allow.

    Args:
        peak_mib: memory of one run in MiB: of the GPU where there are any, else of the process.
        threads: of each process.
        processes: how many at most; not more than fit where None.
        gpus: free memory of each GPU that may be used, in MiB; empty for the CPU.

    Raises:
        RegardError: not a single run fits.
    """
    cores = max(usable_cores() // threads, 1)
    if gpus:
        fitting = [int(SPARE * free / max(peak_mib, 1)) for free in gpus]
        # In turn, so that few runs spread over all.
        order = [(k, i) for i, count in enumerate(fitting) for k in range(count)]
        slots = [{"CUDA_VISIBLE_DEVICES": str(i), **thread_environment(threads)} for _, i in sorted(order)]
        free = max(gpus)
    else:
        free = free_mib()
        count = cores if not peak_mib else int(SPARE * free / peak_mib)
        slots = [thread_environment(threads) for _ in range(min(count, cores))]
    if processes is not None and slots:
        return [slots[i % len(slots)] for i in range(processes)]
    if not slots:
        raise RegardError(
            f"a run needs {peak_mib:,.0f} MiB and {free:,.0f} MiB are free",
            hint="use a smaller --batch or --imgsz, or say --processes 1 to try it",
        )
    return slots[:cores]
