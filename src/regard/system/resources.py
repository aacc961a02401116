"""How many cores and how much memory there are: those of the machine, within the limits of its control groups.

A container sees the memory and the cores of the whole machine; what it may use of them its control groups define, which
the kernel shows as files: version 2 in one tree, version 1 in one for each resource. A limit applies to all groups
below it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

GROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def available_cores() -> int:
    """Count the cores that this process may use, at least 1.

    Example:
        >>> available_cores() >= 1
        True
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(int(min([float(cores), *_core_limits()])), 1)


def available_memory() -> int:
    """Measure the memory that new processes can have now, in bytes."""
    return max(min([_psutil().virtual_memory().available, *(left for _, left in _memory_limits())]), 0)


def total_memory() -> int:
    """Measure the memory that this process and its children can have at most, in bytes."""
    return min([_psutil().virtual_memory().total, *(limit for limit, _ in _memory_limits())])


def peak_memory() -> int:
    """Measure the largest resident memory of this process so far, in bytes.

    Where the system does not record it (neither Linux, macOS nor Windows), the present one is given.
    """
    info = _psutil().Process().memory_info()
    if peak := getattr(info, "peak_wset", 0):  # Windows
        return int(peak)
    try:
        from resource import RUSAGE_SELF, getrusage  # POSIX only
    except ImportError:
        return int(info.rss)
    return getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)  # bytes on macOS, else KiB


def _psutil() -> ModuleType:
    import psutil  # it takes 15 ms, which a process that only predicts need not wait for

    return psutil


def _core_limits() -> Iterator[float]:
    for folder in _groups(""):
        quota, _, period = _word(folder / "cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit():
            yield int(quota) / int(period)
    for folder in _groups("cpu"):
        quota, period = _word(folder / "cpu.cfs_quota_us"), _word(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit():  # -1 is no limit
            yield int(quota) / int(period)


def _memory_limits() -> Iterator[tuple[int, int]]:
    """Yield the limit of each group and what it leaves, in bytes; cached files that are not in use can be released."""
    for resource, limit, used, cache in (
        ("", "memory.max", "memory.current", "inactive_file"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        for folder in _groups(resource):
            most, now = _word(folder / limit), _word(folder / used)
            if most.isdigit() and now.isdigit():
                kept = dict(line.split() for line in _word(folder / "memory.stat").splitlines())
                yield int(most), int(most) - int(now) + int(kept.get(cache, 0))


def _groups(resource: str) -> Iterator[Path]:
    """Yield the folders of this process's group and those above it; ``resource`` is "" for version 2."""
    for line in _word(OWN).splitlines():
        _, resources, path = line.split(":", 2)
        if resource in resources.split(","):
            # Inside a container the path may be the host's, of which only the root exists.
            own = (GROUPS / resource / path.lstrip("/"), GROUPS / resource)
            yield from dict.fromkeys(
                folder for start in own for folder in (start, *start.parents) if folder.is_relative_to(own[1])
            )


def _word(file: Path) -> str:
    """Read a file of the kernel; "" where it does not exist."""
    try:
        return file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
