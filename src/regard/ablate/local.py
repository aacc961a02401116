"""Executors complete the runs of a study: the interface, and this machine. `regard.ablate.ray` is the other."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from regard.ablate.folder import FAILURE, LOG, is_over, read_run
from regard.ablate.hardware import Hardware, hardware_here
from regard.ablate.processes import ForkServer, SpawnedProcesses, process_source
from regard.ablate.trainable import Job
from regard.errors import RegardError
from regard.system.resources import available_cores, available_memory
from regard.training.folder import RunFolder

ProcessSource = ForkServer | SpawnedProcesses

ATTEMPTS = 3
"""Number of times that the process of a run may die without finishing an epoch before the run fails."""

PAUSE = 0.1
"""Seconds between checks of the processes."""

SPARE = 0.9
"""Fraction of the free memory that runs may fill."""


class Executor(Protocol):
    """Completes runs."""

    def run(self, jobs: Sequence[Job]) -> Generator[Path, None, None]:
        """Execute every run and yield its folder when it has finished or failed; closing it stops the others.

        All state is in the folders, so interrupted runs continue when the same jobs are given again.
        """

    def hardware(self, train: Mapping[str, Any]) -> Hardware:
        """Resolve training settings such as "auto" where the runs will be."""


class LocalExecutor:
    """Executes runs on this machine, several at a time, each in a separate process.

    Args:
        slots: the environment added to each of the parallel processes.
    """

    def __init__(self, slots: Sequence[Mapping[str, str]]) -> None:
        self.slots = list(slots)

    def run(self, jobs: Sequence[Job]) -> Generator[Path, None, None]:
        """Execute runs; see ``Executor``."""
        sources = [process_source(slot) for slot in self.slots[: len(jobs)]]
        waiting, free = deque(jobs), sources.copy()
        running: list[tuple[Path, Attempts, ProcessSource]] = []
        try:
            while waiting or running:
                while waiting and free:
                    source, job = free.pop(0), waiting.popleft()
                    running.append((job.folder, Attempts(job, source), source))
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
        """Resolve training settings such as "auto" on this machine."""
        return hardware_here(train)


class Attempts:
    """The process of one run, started again if it dies without a result.

    Args:
        job: what to complete.
        source: of its processes.
    """

    def __init__(self, job: Job, source: ProcessSource) -> None:
        self.job, self.folder, self.source = job, job.folder, source
        self.deaths = 0
        self._start()

    def _start(self) -> None:
        self.epochs = self._epochs()
        self.process = self.source.start(self.job)

    def is_over(self) -> bool:
        """Whether the run has ended; a dead process is replaced, or the run given up."""
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
        """Block until the run has ended."""
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


def describe_death(code: int) -> str:
    """Explain how a process ended that left no result, by its exit code (on POSIX minus a signal's number)."""
    if code < 0 and signal.Signals(-code).name == "SIGKILL":
        return f"the process was killed {ATTEMPTS} times in one epoch; probably out of memory (see {LOG})"
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
    return f"the process ended {ATTEMPTS} times {how} (see {LOG})"


def thread_environment(threads: int) -> dict[str, str]:
    """Environment variables of a process that computes in a given number of threads."""
    return {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}


def local_slots(
    peak_mib: float, threads: int, processes: int | None, gpus: Sequence[float] = ()
) -> list[dict[str, str]]:
    """Environments of the processes that run in parallel here: as many as free memory and cores allow.

    Args:
        peak_mib: memory of one run in MiB: of the GPU if there is one, else of the process; 0 if unknown.
        threads: number of threads of each process.
        processes: number of processes; as many as fit if None.
        gpus: free memory of each GPU that may be used, in MiB; empty for the CPU.

    Raises:
        RegardError: not a single run fits.
    """
    cores = max(available_cores() // threads, 1)
    if gpus:
        fitting = [int(SPARE * free / max(peak_mib, 1)) for free in gpus]
        # In turn, so that a few runs spread over all GPUs.
        order = [(k, i) for i, count in enumerate(fitting) for k in range(count)]
        slots = [{"CUDA_VISIBLE_DEVICES": str(i), **thread_environment(threads)} for _, i in sorted(order)]
        free = max(gpus)
    else:
        free = available_memory() / 2**20
        count = cores if not peak_mib else int(SPARE * free / peak_mib)
        slots = [thread_environment(threads) for _ in range(min(count, cores))]
    if processes is not None and slots:
        return [slots[i % len(slots)] for i in range(processes)]
    if not slots:
        raise RegardError(
            f"a run needs {peak_mib:,.0f} MiB and {free:,.0f} MiB are free",
            hint="use a smaller --batch or --imgsz, or --processes 1 to try it",
        )
    return slots[:cores]
