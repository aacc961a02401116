"""Runs on a Ray cluster. Ray places them, watches the nodes and starts again elsewhere what died with one.

The study's folder, the data and the weights have to lie under the same paths on all nodes (a shared file system).
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from regard.ablate.execute import Attempts, NewProcesses, thread_environment
from regard.ablate.folder import FAILURE, JOB, is_over
from regard.ablate.hardware import Hardware, hardware_here
from regard.errors import RegardError
from regard.training.folder import RunFolder

RETRIES = 10
"""Times that a run is placed anew after its node or its worker died."""

PATIENCE = 10.0
"""Seconds for a cluster to answer."""


@dataclass(frozen=True)
class LetterboxTransform:
    """What one run takes of the cluster, and where.

    Attributes:
        cpus: cores, and threads.
        gpus: of a GPU; 0.25 lets four runs share one.
        resources: others by name, as the nodes were started with.
        strategy: "spread" over the nodes, or "pack" as Ray does by itself.
    """

    cpus: int = 1
    gpus: float = 0.0
    resources: Mapping[str, float] = field(default_factory=dict)
    strategy: Literal["spread", "pack"] = "spread"


class RayExecutor:
    """Runs on a cluster.

    Args:
        address: as of ``ray.init``: "auto" for the cluster that this machine belongs to, or HOST:PORT.
        placement: what each run takes.

    Raises:
        RegardError: Ray is not installed, or there is no cluster, or no node in it with such resources.
    """

    def __init__(self, address: str, placement: LetterboxTransform) -> None:
        self.placement = placement
        self.ray = _connected(address)
        _check_room([node["Resources"] for node in self.ray.nodes() if node["Alive"]], placement)

    def run(self, folders: Sequence[Path]) -> Generator[Path, None, None]:
        """Execute runs; see ``regard.ablate.execute.Executor``."""
        task = self._task(complete)
        environment = thread_environment(self.placement.cpus)
        waiting = {task.remote(str(folder.absolute()), os.getcwd(), environment): folder for folder in folders}
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
        """Return what settings of a training mean on a node with the runs' resources; no GPUs asked for, none used.

        Raises:
            RegardError: such a node does not have the device, or cannot tell.
        """
        asked = dict(train)
        if not self.placement.gpus and asked.get("device", "auto") == "auto":
            asked["device"] = "cpu"
        try:
            found: Hardware = self.ray.get(self._task(hardware_here).remote(asked))
        except self.ray.exceptions.RayError as error:
            last = str(error).strip().splitlines()[-1]
            raise RegardError(f"the hardware of the runs cannot be told: {last}") from error
        return found

    def _task(self, function: Callable[..., Any]) -> Any:
        """Return a function as a task that takes what a run takes."""
        take = self.placement
        return self.ray.remote(
            num_cpus=take.cpus,
            num_gpus=take.gpus,
            resources=dict(take.resources),
            scheduling_strategy="SPREAD" if take.strategy == "spread" else "DEFAULT",
            max_retries=RETRIES,
        )(function)

    def _check(self, reference: Any, folder: Path) -> None:
        """Note it in the run's folder when the cluster gave it up."""
        try:
            problem = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            problem = str(error).strip().splitlines()[-1]
        if problem and not is_over(folder):
            RunFolder(folder).write_json(FAILURE, {"error": problem})


def complete(folder: str, working_folder: str, environment: dict[str, str]) -> str:
    """Bring one run to its end on this node; return what prevents it, "" for nothing.

    Args:
        folder: of the run.
        working_folder: what the paths of data and weights count from.
        environment: added to the process's.
    """
    if not (Path(folder) / JOB).is_file() or not Path(working_folder).is_dir():
        node = os.uname().nodename
        return f"the study's folder cannot be seen on the node {node}: it must be shared under the same path"
    os.chdir(working_folder)
    Attempts(Path(folder), NewProcesses(environment)).wait()
    return ""


def _connected(address: str) -> Any:
    try:
        import ray
    except ImportError as error:
        raise RegardError("Ray is not installed", hint="pip install 'regard[ray]'") from error
    try:
        _knock(address)
        if not ray.is_initialized():
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise RegardError(
            f"no Ray cluster at {address!r}: {str(error).splitlines()[0]}",
            expected="auto, or the address that `ray start --head` prints",
        ) from error
    return ray


def _knock(address: str) -> None:
    """See whether anything answers at HOST:PORT, for which Ray itself would wait for minutes.

    Raises:
        OSError: nothing does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()


def _check_room(nodes: Sequence[Mapping[str, float]], take: LetterboxTransform) -> None:
    """Refuse what no node of the cluster can ever place, on which Ray would wait forever.

    Args:
        nodes: what each has in all.
        take: what each run takes, all of it on one node.

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
        told = " and ".join(f"{amount:g} {name}" for name, amount in asked.items() if amount)
        raise RegardError(f"no node of the cluster has {told} together", expected="no more than one node has")
