"""Cores and memory within the limits of control groups, of both versions, set anywhere above the process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from regard.ablate import machine
from regard.ablate.machine import free_mib, usable_cores

MIB = 2**20


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in for a machine of 13 cores with 7,000 MiB free, without limits."""
    monkeypatch.setattr(machine, "GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "OWN", tmp_path / "own")
    monkeypatch.setattr(machine, "_free_in_all", lambda: 7000.0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(13)), raising=False)
    return tmp_path


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


def test_without_groups_and_without_limits(groups: Path) -> None:
    assert (usable_cores(), free_mib()) == (13, 7000)
    (groups / "own").write_text("0::/a/b\n")
    write(groups / "cgroup" / "a" / "b", cpu__max="max 100000", memory__max="max", memory__current=str(3 * MIB))
    assert (usable_cores(), free_mib()) == (13, 7000)


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
    assert usable_cores() == 3
    assert free_mib() == 1000 - 700 + 200


def test_inside_a_container_the_root_is_its_own(groups: Path) -> None:
    (groups / "own").write_text("0::/host/only/path\n")
    write(groups / "cgroup", cpu__max="50000 100000", memory__max=str(11 * MIB), memory__current=str(17 * MIB))
    assert usable_cores() == 1
    assert free_mib() == 0


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
    assert usable_cores() == 5
    assert free_mib() == 130
