"""How many cores and how much memory new processes can have: the machine's, within the limits of its control groups.

A container sees the memory and the cores of the whole machine; what it may use of them its control groups say, which
the kernel shows as files: version 2 in one tree, version 1 in one a resource. A limit holds for all groups below it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
MIB = 2**20


def usable_cores() -> int:
    """Return the cores that this process may use, at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(int(min([float(cores), *_core_limits()])), 1)


def free_mib() -> float:
    """Return the memory that new processes can have, in MiB."""
    return max(min([_free_in_all(), *_memory_limits()]), 0.0)


def _free_in_all() -> float:
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "MemAvailable":
                return int(value.split()[0]) / 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / MIB


def _core_limits() -> Iterator[float]:
    for folder in _groups(""):
        quota, _, period = _word(folder / "cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit():
            yield int(quota) / int(period)
    for folder in _groups("cpu"):
        quota, period = _word(folder / "cpu.cfs_quota_us"), _word(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit():  # -1 is no limit
            yield int(quota) / int(period)


def _memory_limits() -> Iterator[float]:
    """Yield what each group leaves, in MiB; cached files that nobody works with can be given up."""
    for resource, limit, used, cache in (
        ("", "memory.max", "memory.current", "inactive_file"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        for folder in _groups(resource):
            most, now = _word(folder / limit), _word(folder / used)
            if most.isdigit() and now.isdigit():
                kept = dict(line.split() for line in _word(folder / "memory.stat").splitlines())
                yield (int(most) - int(now) + int(kept.get(cache, 0))) / MIB


def _groups(resource: str) -> Iterator[Path]:
    """Yield the folders of this process's group and those above it; ``resource`` is "" for version 2."""
    for line in _word(OWN).splitlines():
        _, resources, path = line.split(":", 2)
        if resource in resources.split(","):
            # Inside a container the path may be the host's, of which only the root is there.
            own = (GROUPS / resource / path.lstrip("/"), GROUPS / resource)
            yield from dict.fromkeys(
                folder for start in own for folder in (start, *start.parents) if folder.is_relative_to(own[1])
            )


def _word(file: Path) -> str:
    """Return what a file holds; "" where it is not there."""
    try:
        return file.read_text().strip()
    except OSError:
        return ""
