"""Ctrl-C and processes that are still starting."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from regard.system.interrupts import interrupts_blocked, receive_interrupts

pytestmark = pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="Windows has no signal masks")

CHILD = """
import sys
print("up", flush=True)
sys.stdin.readline()
from regard.system.interrupts import receive_interrupts
try:
    receive_interrupts()
except KeyboardInterrupt:
    print("stopped")
"""


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """Let Ctrl-C be heard also where the tests were started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_process_that_is_starting_receives_ctrl_c_when_it_is_ready() -> None:
    with interrupts_blocked():
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    assert child.stdout
    assert child.stdout.readline() == "up\n"
    child.send_signal(signal.SIGINT)
    assert child.communicate("\n", timeout=60) == ("stopped\n", "")


def test_ctrl_c_comes_when_the_block_ends() -> None:
    reached = []

    def interrupted() -> None:
        with interrupts_blocked():
            signal.raise_signal(signal.SIGINT)
            reached.append(True)

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert reached
    receive_interrupts()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
