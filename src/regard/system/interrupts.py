"""Ctrl-C: a terminal sends it to all processes of a command, of which only the first should answer."""

from __future__ import annotations

import _thread
import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

POLL_SECONDS = 0.005
"""Time between two looks at whether an import has ended."""
PATIENCE_SECONDS = 10.0
"""Time for which a notebook's import is not broken off by further interrupts: some press the button until it works."""


def defer_interrupts() -> None:
    """Let Ctrl-C raise `KeyboardInterrupt` when no module is being imported; a second Ctrl-C does so at once.

    Raised within an import it may be swallowed by whatever tries one package after another. Does nothing where Ctrl-C
    is ignored, as in the background, or has a handler.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _Deferred())
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # the last: what is left cannot be stopped


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Until the block ends, let Ctrl-C raise `KeyboardInterrupt` when no module is being imported.

    A module whose import is interrupted stays broken in the process, which in a notebook goes on; a second Ctrl-C does
    so only after `PATIENCE_SECONDS`. All functions of the API, and what shows a value in a notebook, are such blocks,
    as their first call imports packages. Does nothing where Ctrl-C has a handler, and outside the main thread, which
    alone receives it.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    handler = _Deferred(PATIENCE_SECONDS)
    try:
        signal.signal(signal.SIGINT, handler)
        yield
    finally:
        handler.end()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # what has arrived by then goes to ours
        if handler.was_pressed:
            raise KeyboardInterrupt


def end_at_interrupt(code: int) -> None:
    """Let Ctrl-C end the process at once with this exit code: its work is done, and it is being shut down."""
    if isinstance(signal.getsignal(signal.SIGINT), _Deferred):
        signal.signal(signal.SIGINT, lambda *_: os._exit(code))
    exec("")  # CPython forgets that Ctrl-C ended a compiled text, as of a dataclass, and does not end by the signal


class _Deferred:
    """Handler of Ctrl-C that waits for the end of an import.

    Of the reminders that it sends, at most one is on its way, and none once `end` has returned: another one would raise
    where nobody pressed anything.

    Args:
        patience: seconds after the first Ctrl-C in which another one does not end the import.
    """

    def __init__(self, patience: float = 0.0) -> None:
        self.patience, self.since = patience, 0.0
        self.waits = self.is_reminder = self.has_ended = self.was_pressed = False
        self.lock = threading.RLock()  # a signal may come while the same thread has it

    def __call__(self, _: int, frame: FrameType | None) -> None:
        """Raise `KeyboardInterrupt`, or have the same signal sent again later."""
        with self.lock:
            is_reminder, self.is_reminder = self.is_reminder, False
            if self.has_ended:
                self.was_pressed |= not is_reminder
                return
            is_urgent = self.waits and not is_reminder and time.monotonic() - self.since >= self.patience
            if is_urgent or not _is_importing(frame):
                self.waits = False
                raise KeyboardInterrupt
            if not self.waits:
                self.waits, self.since = True, time.monotonic()
                _thread.start_new_thread(self._remind, (_thread.get_ident(),))

    def end(self) -> None:
        """Raise nothing any more, and keep in ``was_pressed`` whether there is a Ctrl-C that has not been answered."""
        with self.lock:
            self.has_ended = True
            self.was_pressed, self.waits = self.waits, False
        time.sleep(0)  # the system delivers a reminder that is on its way

    def _remind(self, thread: int) -> None:
        """Send the signal again when the thread is not importing, until it is received there."""
        while self.waits:
            time.sleep(POLL_SECONDS)
            if self.is_reminder or _is_importing(sys._current_frames().get(thread)):
                continue
            with self.lock:
                if self.waits:
                    self.is_reminder = True
                    if hasattr(signal, "pthread_kill"):
                        signal.pthread_kill(thread, signal.SIGINT)  # to the thread itself, which it wakes
                    else:
                        signal.raise_signal(signal.SIGINT)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Block Ctrl-C in this thread until the block ends, and in processes that it starts until `receive_interrupts`.

    A process that is still importing could only print a traceback. Does nothing on Windows.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def receive_interrupts() -> None:
    """Raise `KeyboardInterrupt` on Ctrl-C from now on, at once if it came before.

    Raises:
        KeyboardInterrupt: it did.
    """
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
