"""Ctrl-C and processes that are still starting."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import regard
from regard.system.interrupts import (
    defer_interrupts,
    end_at_interrupt,
    interrupts_blocked,
    interrupts_deferred,
    receive_interrupts,
)

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


IMPORTED = """
import signal, time
for package in range({times}):
    try:
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.1)
    except BaseException:
        swallowed = True
"""


@pytest.mark.parametrize(("times", "swallowed"), [(1, False), (2, True)])
def test_ctrl_c_in_an_import_comes_when_it_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int, swallowed: bool
) -> None:
    """What tries one package after another swallows it; the second one is raised there all the same."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / f"swallows_{times}.py").write_text(IMPORTED.format(times=times))
    defer_interrupts()

    def imported() -> None:
        module = import_module(f"swallows_{times}")
        assert hasattr(module, "swallowed") is swallowed
        if not swallowed:
            time.sleep(30)

    if swallowed:
        imported()
    else:
        with pytest.raises(KeyboardInterrupt):
            imported()


def test_ctrl_c_in_a_cell_leaves_no_broken_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a notebook, where the process goes on, and Ctrl-C has Python's own handler."""
    (tmp_path / "slow_to_import.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\nready = True\n")
    monkeypatch.syspath_prepend(tmp_path)

    @interrupts_deferred()
    def import_slowly() -> None:
        import_module("slow_to_import")
        time.sleep(5)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            import_slowly()
        assert sys.modules["slow_to_import"].ready
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        with pytest.raises(KeyboardInterrupt), interrupts_deferred():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
        sys.modules.pop("slow_to_import", None)


def test_ctrl_c_while_a_function_is_first_named_leaves_no_broken_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``regard.train`` imports torch before anything in it is called."""
    (tmp_path / "slow_to_name.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\ntrain = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(regard, "import_module", lambda _: import_module("slow_to_name"))
    with pytest.raises(KeyboardInterrupt):
        regard.__getattr__("train")
    assert sys.modules.pop("slow_to_name").train


def test_ctrl_c_outside_an_import_comes_at_once_and_a_handler_is_kept() -> None:
    defer_interrupts()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    defer_interrupts()
    end_at_interrupt(0)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.parametrize("place", ["regard.system.allocator", "regard.cli", "typer"])
def test_ctrl_c_while_a_command_starts_has_one_line(tmp_path: Path, place: str) -> None:
    """The module ``place`` is being imported when it comes."""
    code = f"""
import builtins, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
real = builtins.__import__
def importing(name, *rest):
    if name == {place!r} and {place!r} not in sys.modules:
        signal.raise_signal(signal.SIGINT)
    return real(name, *rest)
builtins.__import__ = importing
sys.argv[1:] = ["--help"]
from regard.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert (done.returncode, done.stderr) == (130, "stopped\n")


def test_ctrl_c_after_the_work_keeps_the_exit_code() -> None:
    code = """
import signal
from regard.system.interrupts import defer_interrupts, end_at_interrupt
signal.signal(signal.SIGINT, signal.default_int_handler)
defer_interrupts()
end_at_interrupt(3)
signal.raise_signal(signal.SIGINT)
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 3
