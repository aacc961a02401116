"""Ctrl-C: a terminal sends it to all processes of a command, of which only the first should answer."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


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
