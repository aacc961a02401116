"""Ctrl-C and processes that are still starting."""

from __future__ import annotations

import _thread
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from importlib import import_module
from inspect import isclass, isfunction, signature, unwrap
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

import regard
from regard import demo
from regard.ablate import folder, plan, study
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


def test_a_button_pressed_again_and_again_breaks_no_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pressed_thrice.py").write_text(IMPORTED.format(times=3))
    (tmp_path / "hangs.py").write_text(IMPORTED.format(times=2))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt), interrupts_deferred():
        import_module("pressed_thrice")
    assert not hasattr(sys.modules["pressed_thrice"], "swallowed")
    monkeypatch.setattr("regard.system.interrupts.PATIENCE_SECONDS", 0.05)
    with interrupts_deferred():
        assert import_module("hangs").swallowed  # its import can be ended after a while


@pytest.mark.parametrize("is_reminder", [True, False])
@pytest.mark.parametrize("waits", [True, False])
def test_a_signal_that_comes_last_is_answered_once(
    waits: bool, is_reminder: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that the block sent itself, or a press, while the block gives Python's own handler back."""
    give_back = signal.signal

    def give_back_late(number: int, handler: Any) -> Any:
        if handler is signal.default_int_handler:
            signal.raise_signal(signal.SIGINT)
        return give_back(number, handler)

    with suppress(KeyboardInterrupt), interrupts_deferred():
        deferred: Any = signal.getsignal(signal.SIGINT)
        deferred.waits, deferred.is_reminder = waits, is_reminder
        monkeypatch.setattr(signal, "signal", give_back_late)
    monkeypatch.undo()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert not deferred.waits
    assert deferred.was_pressed == (waits or not is_reminder)


def test_at_most_one_reminder_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    monkeypatch.setattr(signal, "pthread_kill", lambda _, number: sent.append(number))
    with suppress(KeyboardInterrupt), interrupts_deferred():
        deferred: Any = signal.getsignal(signal.SIGINT)
        deferred.waits = True
        _thread.start_new_thread(deferred._remind, (_thread.get_ident(),))
        time.sleep(0.1)  # the thread is busy and receives none
    count = len(sent)
    time.sleep(0.05)
    assert count == len(sent) == 1


STUDIES = (plan.make_plan, plan.read_plan, folder.read_study, study.run_study, demo.run_demo)
"""Functions that the notebooks and pages call, apart from those of the table."""


def public_functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    """All functions of the table of `regard`, and the methods by which a notebook shows values."""
    yield from ((name, value) for name in regard.__all__ if isfunction(value := getattr(regard, name)))
    yield "studio", type(regard.studio).__call__
    yield from ((function.__name__, function) for function in STUDIES)
    root = Path(regard.__path__[0])
    for file in root.rglob("*.py"):
        if "    def _repr_" in file.read_text(encoding="utf-8"):
            module = import_module(".".join(("regard", *file.relative_to(root).with_suffix("").parts)))
            for kind in vars(module).values():
                shows = [name for name in vars(kind) if name.startswith("_repr_")] if isclass(kind) else []
                yield from ((f"{kind.__name__}.{name}", vars(kind)[name]) for name in shows)


def note_handler(code: CodeType, handlers: list[Any], frame: FrameType, event: str, _: object) -> None:
    """Add the handler of Ctrl-C to a list where ``code`` begins."""
    if event == "call" and frame.f_code is code:
        handlers.append(signal.getsignal(signal.SIGINT))


def test_the_first_call_of_any_public_function_breaks_no_import() -> None:
    """Each is called with arguments of no use: what counts is how Ctrl-C is handled where its own code begins."""
    for name, function in public_functions():
        handlers: list[Any] = []
        needed = [p for p in signature(function).parameters.values() if p.default is p.empty and p.kind < p.VAR_KEYWORD]
        by_name = {p.name: None for p in needed if p.kind is p.KEYWORD_ONLY}
        by_place = [None for p in needed if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        before = sys.getprofile()
        sys.setprofile(partial(note_handler, unwrap(function).__code__, handlers))
        with suppress(Exception):
            function(*by_place, **by_name)
        sys.setprofile(before)
        assert handlers, name
        assert handlers[0] is not signal.default_int_handler, name
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


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
