"""What works or waits in the folder of a run, recorded there for all studios: those of now and those started later.

A record is only believed where its process runs on this machine, began when the record says, and, before it gets a
signal, has the command line of a training in that folder: numbers of processes are used again.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from regard.errors import RegardError
from regard.system.files import write_file
from regard.system.loaders import read_json_mapping
from regard.system.scratch import CLOCK_SECONDS, machine
from regard.training.history import is_own

OWNER = ".regard-owner.json"
"""File in the folder of a run."""

INTERRUPT: int = getattr(signal, "CTRL_BREAK_EVENT", signal.SIGINT)
"""The signal that interrupts work as Ctrl-C does; the former on Windows."""
COMMANDS = (("-m", "regard", "train"), ("-m", "regard", "ablate"))
"""How the command lines begin that a studio starts, after the interpreter."""


@dataclass(frozen=True)
class Owner:
    """A process that works in a folder, or a studio in whose queue it waits.

    Attributes:
        pid: number of the process.
        began: when it began, in seconds since 1970.
        machine: on which it runs, as a hash.
        waiting: whether it is a studio that will start the work.
        since: when the record was made, in seconds since 1970.
    """

    pid: int
    began: float
    machine: str
    waiting: bool
    since: float


def owned_by(pid: int, *, waiting: bool) -> Owner:
    """Describe a process that runs now."""
    now = time.time()
    try:
        began = psutil.Process(pid).create_time()
    except psutil.Error:  # it has ended
        began = now
    return Owner(pid, began, machine(), waiting, now)


def write_owner(folder: Path, owner: Owner) -> None:
    """Record what works or waits in a folder."""
    write_file(folder / OWNER, json.dumps(asdict(owner)))


def remove_owner(folder: Path) -> None:
    """Forget what worked or waited in a folder."""
    (folder / OWNER).unlink(missing_ok=True)


def living_owner(folder: Path) -> Owner | None:
    """Find what works or waits in a folder now; None where nothing does, or what is recorded has ended."""
    try:
        if not is_own(folder / OWNER):
            return None
        found = read_json_mapping(folder / OWNER)
        numbers = int(found["pid"]), float(found["began"]), float(found["since"])
    except (RegardError, OSError, KeyError, TypeError, ValueError, OverflowError):  # it is damaged
        return None
    owner = Owner(numbers[0], numbers[1], str(found.get("machine")), found.get("waiting") is True, numbers[2])
    return owner if owner.machine == machine() and _process(owner, folder) else None


def interrupt(owner: Owner, folder: Path) -> None:
    """Interrupt what works in a folder, as Ctrl-C does.

    Raises:
        RegardError: it has ended, or cannot be reached from here.
    """
    process = _process(owner, folder)
    if process is None or owner.waiting:
        raise RegardError("nothing works in this folder any more", file=folder)
    try:
        process.send_signal(INTERRUPT)
    except psutil.NoSuchProcess as error:
        raise RegardError("nothing works in this folder any more", file=folder) from error
    except (psutil.Error, OSError) as error:
        what = f"process {owner.pid} cannot be stopped from here ({error})"
        raise RegardError(what, file=folder, hint="end it by its number; a training keeps its whole epochs") from error


def _process(owner: Owner, folder: Path) -> psutil.Process | None:
    """The process of a record, if it still is that; of other users' processes nothing is known."""
    try:
        process = psutil.Process(owner.pid)
        if process.status() == psutil.STATUS_ZOMBIE or abs(process.create_time() - owner.began) > CLOCK_SECONDS:
            return None
        return process if owner.waiting or works_in(process.cmdline(), folder) else None
    except (psutil.Error, OSError, ValueError, OverflowError):
        return None


def works_in(command: Sequence[str], folder: Path) -> bool:
    """Whether a command line is that of a training or study that a studio started in a folder.

    Example:
        >>> works_in(["python", "-m", "regard", "train", "--resume=runs/a"], Path("runs/a"))
        True
        >>> works_in(["python", "-m", "regard", "train", "--resume=runs/ab"], Path("runs/a"))
        False
    """
    named = {f"--resume={folder}", f"--output={folder}"}
    return tuple(command[1:4]) in COMMANDS and not named.isdisjoint(command)
