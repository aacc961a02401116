"""Cores and memory within the limits of control groups, of both versions, set anywhere above the process."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from regard.system import resources
from regard.system.resources import available_cores, available_memory, peak_memory, total_memory

MIB = 2**20


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace the machine by one of 13 cores with 7,000 MiB free, without limits."""
    monkeypatch.setattr(resources, "GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(resources, "OWN", tmp_path / "own")
    memory = SimpleNamespace(available=7000 * MIB, total=17000 * MIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(13)), raising=False)
    return tmp_path


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


def test_without_groups_and_without_limits(groups: Path) -> None:
    assert (available_cores(), available_memory()) == (13, 7000 * MIB)
    (groups / "own").write_text("0::/a/b\n")
    write(groups / "cgroup" / "a" / "b", cpu__max="max 100000", memory__max="max", memory__current=str(3 * MIB))
    assert (available_cores(), available_memory()) == (13, 7000 * MIB)


def test_version_2_holds_for_all_below(groups: Path) -> None:
    (groups / "own").write_text("0::/a/b\n")
    write(groups / "cgroup" / "a" / "b", cpu__max="1100000 100000", memory__max="max", memory__current="0")
    write(
        groups / "cgroup" / "a",
        cpu__max="350000 100000",
        memory__max=str(1000 * MIB),
        memory__current=str(700 * MIB),
        memory__stat=f"anon 5\ninactive_file {200 * MIB}",
    )
    assert available_cores() == 3
    assert available_memory() == (1000 - 700 + 200) * MIB
    assert total_memory() == 1000 * MIB


def test_inside_a_container_the_root_is_its_own(groups: Path) -> None:
    (groups / "own").write_text("0::/host/only/path\n")
    write(groups / "cgroup", cpu__max="50000 100000", memory__max=str(11 * MIB), memory__current=str(17 * MIB))
    assert available_cores() == 1
    assert available_memory() == 0


def test_version_1(groups: Path) -> None:
    (groups / "own").write_text("4:cpu,cpuacct:/job\n3:memory:/job\n2:cpuset:/\n")
    write(groups / "cgroup" / "cpu" / "job", cpu__cfs_quota_us="500000", cpu__cfs_period_us="100000")
    write(groups / "cgroup" / "cpu", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    write(
        groups / "cgroup" / "memory" / "job",
        memory__limit_in_bytes=str(600 * MIB),
        memory__usage_in_bytes=str(500 * MIB),
        memory__stat=f"cache 5\ntotal_inactive_file {30 * MIB}",
    )
    assert available_cores() == 5
    assert available_memory() == 130 * MIB
    assert total_memory() == 600 * MIB


def test_the_peak_is_at_least_the_present_memory() -> None:
    held = bytearray(31 * MIB)
    before = peak_memory()
    assert before >= psutil.Process().memory_info().rss * 0.9 > len(held)
