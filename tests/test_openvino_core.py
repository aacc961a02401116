"""A process that has used OpenVINO survives the next signal."""

from __future__ import annotations

import subprocess
import sys

import pytest

USE = """
import signal, subprocess
from regard.inference.prepared import has_bfloat16
from regard.openvino_core import openvino_core

signal.signal(signal.SIGCHLD, lambda *_: None)
for _ in range(3):
    has_bfloat16()
    openvino_core()
subprocess.run(["true"], check=True)
print("alive")
"""


def test_a_child_that_ends_does_not_kill_the_process() -> None:
    pytest.importorskip("openvino")
    done = subprocess.run([sys.executable, "-c", USE], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr
