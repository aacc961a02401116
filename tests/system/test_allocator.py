"""Keeping freed memory spares a process the page faults of getting it again."""

from __future__ import annotations

import subprocess
import sys

import pytest

from regard.system.allocator import keep_freed_memory

COUNT = """
import resource
{set_up}
def faults(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        bytearray(40 * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults(1)
print(faults(7))
"""
KEEP = "from regard.system.allocator import keep_freed_memory; assert keep_freed_memory()"
PAGES = 40 * 2**20 // 4096


def faults_after(set_up: str) -> int:
    command = [sys.executable, "-c", COUNT.format(set_up=set_up)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of glibc")
def test_memory_is_got_once() -> None:
    kept = faults_after(KEEP)
    assert kept < PAGES
    assert kept < faults_after("")


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
