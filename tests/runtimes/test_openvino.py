"""A process that has taken OpenVINO's models down survives the next signal."""

from __future__ import annotations

import subprocess
import sys

import pytest

USE = """
import gc, signal, subprocess
import numpy as np
from regard.runtimes.openvino import openvino_core
from regard.system.home import import_openvino

openvino = import_openvino()

def model():
    x = openvino.opset8.parameter([1, 3], np.float32)
    compiled = openvino_core().compile_model(openvino.Model([openvino.opset8.relu(x)], [x]), "CPU")
    compiled(np.zeros((1, 3), np.float32))
    return compiled

signal.signal(signal.SIGCHLD, lambda *_: None)
first, second = model(), model()
del first
gc.collect()
del second
gc.collect()
subprocess.run(["true"], check=True)
print("alive")
"""


def test_a_child_that_ends_does_not_kill_a_process_whose_models_went_in_the_order_they_came() -> None:
    pytest.importorskip("openvino")
    done = subprocess.run([sys.executable, "-c", USE], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr
