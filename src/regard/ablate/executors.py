"""Executors complete the runs of a study: the interface, this machine, and a Ray cluster.

Ray places the runs, watches the nodes and restarts elsewhere what died with one. The study's folder, the data and the
weights must have the same paths on all nodes (a shared file system).
"""

from __future__ import annotations

import logging
import os
import platform
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from regard.ablate.folder import FAILURE, JOB, LOG, is_over, read_run
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
            hint="use a smaller --batch or --imgsz, or --processes 1 to try it (in Python: batch, imgsz, processes)",
        )
    return slots[:cores]


RETRIES = 10
"""Number of times that a run is placed again after its node or its worker died."""

TIMEOUT = 10.0
"""Seconds for a cluster to answer."""


@dataclass(frozen=True)
class RunResources:
    """Resources that one run takes of the cluster, and where.

    Attributes:
        cpus: number of cores, and of threads.
        gpus: number of GPUs; 0.25 lets four runs share one.
        resources: other resources by name, as the nodes were started with.
        strategy: "spread" over the nodes, or "pack", Ray's default.
    """

    cpus: int = 1
    gpus: float = 0.0
    resources: Mapping[str, float] = field(default_factory=dict)
    strategy: Literal["spread", "pack"] = "spread"


class RayExecutor:
    """Executes runs on a cluster.

    Args:
        address: as of ``ray.init``: "auto" for the cluster that this machine belongs to, or HOST:PORT.
        resources: of each run.

    Raises:
        RegardError: Ray is not installed, or there is no cluster, or no node in it with such resources.
    """

    def __init__(self, address: str, resources: RunResources) -> None:
        self.resources = resources
        self.ray = _connected(address)
        _check_room([node["Resources"] for node in self.ray.nodes() if node["Alive"]], resources)

    def run(self, jobs: Sequence[Job]) -> Generator[Path, None, None]:
        """Execute runs; see ``Executor``."""
        task = self._task(complete)
        environment = thread_environment(self.resources.cpus)
        waiting = {
            task.remote(str(job.folder.absolute()), job.digest, os.getcwd(), environment): job.folder for job in jobs
        }
        try:
            while waiting:
                done, _ = self.ray.wait(list(waiting), num_returns=1, timeout=1.0)
                for reference in done:
                    folder = waiting.pop(reference)
                    self._check(reference, folder)
                    yield folder
        finally:
            for reference in waiting:
                self.ray.cancel(reference, force=True)

    def hardware(self, train: Mapping[str, Any]) -> Hardware:
        """Resolve training settings on a node with the runs' resources; without GPUs among these, "auto" is the CPU.

        Raises:
            RegardError: such a node does not have the device, or does not answer.
        """
        asked = dict(train)
        if not self.resources.gpus and asked.get("device", "auto") == "auto":
            asked["device"] = "cpu"
        try:
            found: Hardware = self.ray.get(self._task(hardware_here).remote(asked))
        except self.ray.exceptions.RayError as error:
            last = str(error).strip().splitlines()[-1]
            raise RegardError(f"the hardware of the runs cannot be found out: {last}") from error
        return found

    def _task(self, function: Callable[..., Any]) -> Any:
        """Make a function a task that takes the resources of a run."""
        take = self.resources
        return self.ray.remote(
            num_cpus=take.cpus,
            num_gpus=take.gpus,
            resources=dict(take.resources),
            scheduling_strategy="SPREAD" if take.strategy == "spread" else "DEFAULT",
            max_retries=RETRIES,
        )(function)

    def _check(self, reference: Any, folder: Path) -> None:
        """Record in the run's folder that the cluster gave it up."""
        try:
            problem = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            problem = str(error).strip().splitlines()[-1]
        if problem and not is_over(folder):
            RunFolder(folder).write_json(FAILURE, {"error": problem})


def complete(folder: str, digest: str, working_folder: str, environment: dict[str, str]) -> str:
    """Complete one run on this node and return what prevented it, or "".

    Args:
        folder: of the run.
        digest: of its job.
        working_folder: that paths of data and weights are relative to.
        environment: added to the process's.
    """
    if not (Path(folder) / JOB).is_file() or not Path(working_folder).is_dir():
        node = platform.node()
        return f"the study's folder cannot be seen on the node {node}: it must be shared under the same path"
    os.chdir(working_folder)
    Attempts(Job(Path(folder), digest), SpawnedProcesses(environment)).wait()
    return ""


def _connected(address: str) -> Any:
    try:
        import ray
    except ImportError as error:
        raise RegardError("Ray is not installed", hint='pip install "regard[ray]"') from error
    try:
        _check_reachable(address)
        if not ray.is_initialized():
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise RegardError(
            f"no Ray cluster at {address!r}: {str(error).splitlines()[0]}",
            expected="auto, or the address that `ray start --head` prints",
        ) from error
    return ray


def _check_reachable(address: str) -> None:
    """Check that something answers at HOST:PORT; Ray itself would wait for minutes.

    Raises:
        OSError: nothing does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=TIMEOUT).close()


def _check_room(nodes: Sequence[Mapping[str, float]], take: RunResources) -> None:
    """Reject resources that no node of the cluster has, for which Ray would wait forever.

    Args:
        nodes: all resources of each.
        take: resources of each run, all of them on one node.

    Raises:
        RegardError: no node has as much.
    """
    asked = {"CPU": float(take.cpus), "GPU": take.gpus, **take.resources}
    for name, amount in asked.items():
        most = max((node.get(name, 0.0) for node in nodes), default=0.0)
        if amount > most:
            raise RegardError(
                f"each run asks for {amount:g} {name}, and no node of the cluster has more than {most:g}",
                expected="no more than one node has",
            )
    if not any(all(node.get(name, 0.0) >= amount for name, amount in asked.items()) for node in nodes):
        together = " and ".join(f"{amount:g} {name}" for name, amount in asked.items() if amount)
        raise RegardError(f"no node of the cluster has {together} together", expected="no more than one node has")
