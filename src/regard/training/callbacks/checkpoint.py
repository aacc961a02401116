"""Weights, and all that resuming needs, after every epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from regard.graph.detector import Detector
from regard.training.callbacks.base import Callback
from regard.training.callbacks.events import CheckpointSaved, EpochEnd, Event, RunStart
from regard.training.folder import RunFolder


@dataclass(frozen=True)
class Snapshot:
    """A run after an epoch.

    Attributes:
        detector: the detector with averaged weights.
        training: the settings, to be stored with the weights.
        extra: facts to be stored with the weights: epoch, results, gates.
        state: what resuming needs.
    """

    detector: Detector
    training: Mapping[str, Any]
    extra: Mapping[str, Any]
    state: dict[str, Any]


class Checkpoint(Callback):
    """Writes ``last.safetensors``, ``best.safetensors`` and ``state.pt``, and at the start the configuration.

    An error here, such as a full disk, ends the run: without checkpoints its work would be lost.

    Args:
        folder: of the run.
        config: contents of ``run.json``.
        take: takes a snapshot of the run.
        emit: receives a `CheckpointSaved` after every epoch.
    """

    essential: ClassVar[bool] = True

    def __init__(
        self,
        folder: RunFolder,
        config: Mapping[str, Any],
        take: Callable[[], Snapshot],
        emit: Callable[[Event], None],
    ) -> None:
        self._folder, self._config, self._take, self._emit = folder, config, take, emit

    def on_run_start(self, event: RunStart) -> None:
        """Write the starting point of a new run."""
        if not (self._folder.path / "run.json").is_file():
            self._save(is_best=False)
            # Last: a folder with a run.json can be resumed.
            self._folder.write_config(event.model, self._config)

    def on_epoch_end(self, event: EpochEnd) -> None:
        """Write the weights and the state."""
        paths = self._save(is_best=event.is_best)
        self._emit(CheckpointSaved(event.epoch, self._folder.path, paths, event.is_best))

    def _save(self, *, is_best: bool) -> tuple[Path, ...]:
        """Write weights and state; the state comes last, so that a kill in between repeats the epoch."""
        snapshot = self._take()
        weights = [
            self._folder.write_weights(name, snapshot.detector, snapshot.training, snapshot.extra)
            for name in (("last", "best") if is_best else ("last",))
        ]
        return (*weights, self._folder.write_state(snapshot.state))
