"""The interface of callbacks, and how events reach them."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import ClassVar

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

    Callbacks run in the first process only. An exception in one is logged, with the names of the callback and the
    event, and does not end the run.

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


class Callbacks:
    """Passes each event to all callbacks, in their order.

    An event that a callback emits is passed on when all callbacks have seen the current one.
    """

    def __init__(self, callbacks: Iterable[Callback] = ()) -> None:
        self.callbacks = list(callbacks)
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
        for callback in self.callbacks:
            try:
                getattr(callback, hook)(event)
            except Exception as error:  # the user's code may raise anything
                if callback.essential:
                    raise
                name = type(callback).__name__
                log.exception("%s.%s failed: %s: %s", name, hook, type(error).__name__, error)
