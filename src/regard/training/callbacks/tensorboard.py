"""The results of every epoch as TensorBoard scalars."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from regard.training.callbacks.base import Callback
from regard.training.callbacks.events import EpochEnd, RunEnd, RunFailed, RunStart

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TensorBoard(Callback):
    """Writes every value of ``results.csv`` that is a number into the folder ``tensorboard`` of the run."""

    def __init__(self) -> None:
        self._folder = Path()
        self._writer: SummaryWriter | None = None

    def on_run_start(self, event: RunStart) -> None:
        """Remember where to write."""
        self._folder = event.folder / "tensorboard"

    def on_epoch_end(self, event: EpochEnd) -> None:
        """Write one point per value."""
        from torch.utils.tensorboard import SummaryWriter  # takes seconds to import

        if self._writer is None:  # points that a killed process wrote of this epoch are superseded
            self._writer = SummaryWriter(str(self._folder), purge_step=event.epoch)
        for name, value in event.row.items():
            if name != "epoch" and not math.isnan(value):
                self._writer.add_scalar(name, value, event.epoch)
        self._writer.flush()

    def on_run_end(self, event: RunEnd) -> None:  # noqa: ARG002
        """Close the file."""
        self._close()

    def on_run_failed(self, event: RunFailed) -> None:  # noqa: ARG002
        """Close the file."""
        self._close()

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
