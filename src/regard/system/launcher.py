"""The processes that torchrun, or another launcher, has started: how many there are, and which of them this one is."""

from __future__ import annotations

import os


def launched_processes() -> int:
    """Number of processes that a launcher has started, on all machines; 0 without a launcher."""
    return int(os.environ["WORLD_SIZE"]) if "LOCAL_RANK" in os.environ and "WORLD_SIZE" in os.environ else 0


def processes_of_machine() -> int:
    """Number of processes that a launcher has started on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", launched_processes()))


def is_first_process() -> bool:
    """Whether this process prints and writes for all that a launcher has started; True without a launcher."""
    return not launched_processes() or int(os.environ.get("RANK", os.environ["LOCAL_RANK"])) == 0
