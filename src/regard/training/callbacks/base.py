"""The interface of callbacks, and how events reach them."""

from __future__ import annotations

import inspect
import logging
import re
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from regard.errors import RegardError, nearest, one_of
from regard.system.last_resort import passing_cause
from regard.training.callbacks.events import (
    BatchEnd,
    CheckpointSaved,
    EpochEnd,
    EpochStart,
    Event,
    RunEnd,
    RunFailed,
    RunStart,
)

log = logging.getLogger("regard.training.callbacks")


class Callback:
    """Base class for what happens during training: override the methods of the events that you need.

    Callbacks run in the first process only. An exception in one does not end the run: it is logged with its traceback
    when it happens first, and its number at the end. Methods whose names begin with ``on_`` are reserved for events.

    Example:
        >>> class PrintLoss(regard.Callback):
        ...     def on_epoch_end(self, event):
        ...         print(event.epoch, sorted(event.losses))
        >>> model, data = regard.load("odd-one-out"), "synthetic:context?train=8&val=4&test=0"
        >>> settings = {"epochs": 2, "imgsz": 64, "workers": 0, "verbose": False}
        >>> run = regard.train(model, data, callbacks=[PrintLoss()], **settings)
        1 ['box', 'cls', 'obj']
        2 ['box', 'cls', 'obj']

    Attributes:
        essential: whether an exception in this callback ends the run.
    """

    essential: ClassVar[bool] = False

    def on_run_start(self, event: RunStart) -> None:
        """Handle the start of a run, or of its continuation."""

    def on_epoch_start(self, event: EpochStart) -> None:
        """Handle the start of an epoch."""

    def on_batch_end(self, event: BatchEnd) -> None:
        """Handle the end of a training step."""

    def on_epoch_end(self, event: EpochEnd) -> None:
        """Handle the end of an epoch, after its validation."""

    def on_checkpoint(self, event: CheckpointSaved) -> None:
        """Handle a checkpoint that was written; called after ``on_epoch_end`` of all callbacks."""

    def on_run_end(self, event: RunEnd) -> None:
        """Handle the end of a complete run."""

    def on_run_failed(self, event: RunFailed) -> None:
        """Handle the end of a run by an exception; called instead of ``on_run_end``."""


HOOKS: Mapping[type[Event], str] = MappingProxyType(
    {
        RunStart: "on_run_start",
        EpochStart: "on_epoch_start",
        BatchEnd: "on_batch_end",
        EpochEnd: "on_epoch_end",
        CheckpointSaved: "on_checkpoint",
        RunEnd: "on_run_end",
        RunFailed: "on_run_failed",
    }
)


ENDS = (RunEnd, RunFailed)
"""Events after which no other comes."""


def checked_callbacks(callbacks: Any) -> tuple[Callback, ...]:
    """Check what a user gave as ``callbacks``.

    Raises:
        RegardError: it is no list, contains something else than instances of `Callback`, or one of them has a method
            ``on_...`` that no event calls, or one that does not take an event.

    Example:
        >>> checked_callbacks(Callback())
        Traceback (most recent call last):
        regard.errors.RegardError: callbacks is a Callback
          expected: a list: callbacks=[Callback()]
    """
    if isinstance(callbacks, Callback) or not isinstance(callbacks, Iterable) or isinstance(callbacks, str | bytes):
        example = f"{type(callbacks).__name__}()" if isinstance(callbacks, Callback) else "MyCallback()"
        found = f"a {type(callbacks).__name__}" if isinstance(callbacks, Callback) else repr(callbacks)
        raise RegardError(f"callbacks is {found}", expected=f"a list: callbacks=[{example}]")
    listed = tuple(callbacks)
    for i, callback in enumerate(listed):
        if not isinstance(callback, Callback):
            expected = "an instance of a class that derives from regard.Callback"
            if isinstance(callback, type) and issubclass(callback, Callback):
                expected = f"an instance: {callback.__name__}()"
            raise RegardError(f"callbacks[{i}] is {callback!r:.200}", expected=expected)
        _check_hooks(callback)
    return listed


def _check_hooks(callback: Callback) -> None:
    owner, hooks = type(callback).__name__, list(HOOKS.values())
    for name in dir(callback):
        if not re.match("on_|on[A-Z]", name) or not callable(method := getattr(callback, name)):
            continue
        if name not in hooks:
            raise RegardError(
                f"{owner}.{name} is called by no event",
                expected=one_of(hooks),
                hint=nearest(name, hooks),
            )
        try:
            inspect.signature(method).bind(None)
        except TypeError as error:
            what = f"{owner}.{name} cannot be called with an event: {error}"
            raise RegardError(what, expected=f"def {name}(self, event)") from error
        except ValueError:  # a builtin without a signature
            continue


class Callbacks:
    """Passes each event to all callbacks, in their order.

    An event that a callback emits is passed on when all callbacks have seen the current one.
    """

    def __init__(self, callbacks: Iterable[Callback] = ()) -> None:
        self.callbacks = list(callbacks)
        self._failures: Counter[tuple[int, str, str]] = Counter()
        self._waiting: deque[Event] = deque()
        self._is_busy = False

    def __bool__(self) -> bool:
        return bool(self.callbacks)

    def emit(self, event: Event) -> None:
        """Pass an event on.

        Raises:
            Exception: any exception of an essential callback.
        """
        self._waiting.append(event)
        if self._is_busy:
            return
        self._is_busy = True
        try:
            while self._waiting:
                self._pass(self._waiting.popleft())
        finally:
            self._is_busy = False
            self._waiting.clear()

    def _pass(self, event: Event) -> None:
        hook = HOOKS[type(event)]
        for i, callback in enumerate(self.callbacks):
            try:
                getattr(callback, hook)(event)
            except Exception as error:  # the user's code may raise anything
                if callback.essential:
                    raise
                owner, kind = type(callback).__name__, type(error).__name__
                self._failures[i, f"{owner}.{hook}", kind] += 1
                if self._failures[i, f"{owner}.{hook}", kind] == 1:
                    said = str(error) if isinstance(error, RegardError) else f"{kind}: {error}"
                    log.error("%s.%s failed: %s", owner, hook, said, exc_info=not _is_ours(callback, error))
        if isinstance(event, ENDS):
            self._report_repeated()

    def _report_repeated(self) -> None:
        """Log how often each failure happened, unless once."""
        for (_, where, kind), count in self._failures.items():
            if count > 1:
                log.error("%s failed %d times with %s; only the first is shown above", where, count, kind)
        self._failures.clear()


def _is_ours(callback: Callback, error: Exception) -> bool:
    """Whether one of our own callbacks met a full disk or the like, of which a traceback says nothing."""
    is_known = isinstance(error, RegardError) or passing_cause(error) is not None
    return is_known and type(callback).__module__.startswith("regard.")
