"""What happens while a model trains: the base class `Callback`, and the callbacks that every run has.

The order is the order of the list that `standard_callbacks` returns, then the user's own: TensorBoard and the table of
results come first, so that an epoch that counts as finished is in both; the checkpoint follows; then images and
console, so that what is shown is saved.
"""

from __future__ import annotations

from regard.training.callbacks.base import Callback, Callbacks, checked_callbacks
from regard.training.callbacks.checkpoint import Checkpoint, Snapshot
from regard.training.callbacks.console import ConsoleProgress
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
from regard.training.callbacks.images import Images
from regard.training.callbacks.results_csv import ResultsCsv
from regard.training.callbacks.tensorboard import TensorBoard

__all__ = [
    "BatchEnd",
    "Callback",
    "Callbacks",
    "Checkpoint",
    "CheckpointSaved",
    "ConsoleProgress",
    "EpochEnd",
    "EpochStart",
    "Event",
    "Images",
    "ResultsCsv",
    "RunEnd",
    "RunFailed",
    "RunStart",
    "Snapshot",
    "TensorBoard",
    "checked_callbacks",
    "standard_callbacks",
]


def standard_callbacks(checkpoint: Checkpoint, *, plots: bool, verbose: bool) -> list[Callback]:
    """List the callbacks of every run, in their order.

    Args:
        checkpoint: writes the checkpoints.
        plots: draw images.
        verbose: print the progress.
    """
    callbacks: list[Callback] = [TensorBoard(), ResultsCsv(), checkpoint]
    callbacks += [Images()] if plots else []
    return callbacks + ([ConsoleProgress()] if verbose else [])
