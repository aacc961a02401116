"""What is printed while a model trains: a live bar with losses, time left and memory, and one line per epoch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from regard.system.notebook import NotebookBar
from regard.system.resources import peak_memory
from regard.system.terminal import in_notebook, plain_console
from regard.system.translation import translate
from regard.training.callbacks.base import Callback
from regard.training.callbacks.events import BatchEnd, EpochEnd, EpochStart, RunEnd, RunFailed

METRICS: Mapping[str, str] = {"ap": "AP", "ap50": "AP50", "precision": "P", "recall": "R"}
"""Metrics that have a column, and its heading."""


class ConsoleProgress(Callback):
    """Prints the progress of a run: a bar, in a terminal or a notebook, and one line per epoch.

    Args:
        console: where to print; standard output by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or plain_console()
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),  # what the other columns leave
            MofNCompleteColumn(),
            TextColumn("{task.fields[losses]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self.console,
            transient=True,
            expand=True,
            disable=not self.console.is_terminal,
        )
        self.notebook = NotebookBar() if in_notebook() else None
        self._total = self.bar.add_task("", losses="", visible=False)
        self._has_header = False

    def on_epoch_start(self, event: EpochStart) -> None:
        """Start the bar, or move it to the epoch."""
        total, completed = event.epochs * event.steps, (event.epoch - 1) * event.steps
        name = f"epoch {event.epoch}/{event.epochs}"
        self.bar.update(self._total, description=name, total=total, completed=completed, visible=True)
        self.bar.start()

    def on_batch_end(self, event: BatchEnd) -> None:
        """Move the bar, and show the losses and the memory in use."""
        text = " ".join(f"{name} {value:.3f}" for name, value in event.losses.items())
        self.bar.update(self._total, losses=f"{text} {memory_text()}", advance=1)
        if self.notebook is not None:
            task = self.bar.tasks[0]
            left = f"{task.time_remaining:.0f} s left" if task.time_remaining is not None else ""
            self.notebook.show(int(task.completed), int(task.total or 0), task.description, f"{text} {left}")

    def on_epoch_end(self, event: EpochEnd) -> None:
        """Print the line of the epoch, with the gate that is open farthest if there are any."""
        if event.epoch == event.epochs:
            self._remove_bar()
        row = event.row
        gates = [value for name, value in row.items() if name.startswith("gate/")]
        if not self._has_header:
            self.console.print(header(event.losses, gated=bool(gates)), style="bold", soft_wrap=True)
            self._has_header = True
        count = f"{event.epoch}/{event.epochs}"
        losses = " ".join(f"{value:6.4f}" for value in event.losses.values())
        metrics = " ".join(_metric(row[f"val/{name}"]) for name in METRICS)
        metrics += f" {max(gates, key=abs):+6.3f}" if gates else ""
        rest = f"{row['images_per_second']:6.1f} {memory_text():>8}{'  best' if event.is_best else ''}"
        # Soft wrapping keeps lines of any length whole in a log.
        self.console.print(f"{count:>8} {losses} {metrics} {rest}", highlight=False, soft_wrap=True)

    def on_run_end(self, event: RunEnd) -> None:
        """Remove the bar, and print why the run ended early, if it did."""
        self._remove_bar()
        if event.reason:
            self.console.print(translate(f"stopped early: {event.reason}"), markup=False, highlight=False)

    def on_run_failed(self, event: RunFailed) -> None:  # noqa: ARG002
        """Remove the bar."""
        self._remove_bar()

    def _remove_bar(self) -> None:
        self.bar.stop()
        if self.notebook is not None:
            self.notebook.close()


def memory_text() -> str:
    """Write the largest memory in use so far in GiB: of the GPU if there is one, else of this process."""
    used = torch.cuda.max_memory_reserved() if torch.cuda.is_available() else peak_memory()
    return f"{used / 2**30:.1f} GiB"


def header(losses: Iterable[str], *, gated: bool = False) -> str:
    """Write the headings of the columns, for losses with these names, and with gates or without."""
    gate = ("gate",) if gated else ()
    columns = [("epoch", 8), *((name, 6) for name in (*losses, *METRICS.values(), *gate, "img/s")), ("memory", 8)]
    return " ".join(f"{name:>{width}}" for name, width in columns)


def _metric(value: float) -> str:
    return f"{'-':>6}" if math.isnan(value) else f"{value:6.3f}"
