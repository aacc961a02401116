"""What a person sees while a model trains: a live bar with losses, time left and memory, and a line an epoch."""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TypeVar

import torch
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

T = TypeVar("T")

COLUMNS = (("epoch", 8), ("box", 6), ("obj", 6), ("cls", 6), ("AP", 6), ("AP50", 6), ("P", 6), ("R", 6))
HEADER = " ".join(f"{name:>{width}}" for name, width in (*COLUMNS, ("img/s", 6), ("memory", 8)))
MEASURES = ("ap", "ap50", "precision", "recall")


class Progress:
    """The console's view of a run.

    Args:
        epochs: epochs of the whole run.
        enabled: False in every process but the first, which then says nothing.
    """

    def __init__(self, epochs: int, *, enabled: bool = True) -> None:
        self.epochs = epochs
        self.console = Console(quiet=not enabled)
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),  # what the other columns leave
            MofNCompleteColumn(),
            TextColumn("{task.fields[losses]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self.console,
            transient=True,
            expand=True,
            disable=not (enabled and self.console.is_terminal),
        )
        self._total = self._bar.add_task("", losses="", visible=False)

    def __enter__(self) -> Progress:
        self.console.print(HEADER, style="bold", soft_wrap=True)
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def say(self, what: RenderableType) -> None:
        """Print something above the bar."""
        self.console.print(what, markup=False, highlight=False)

    def batches(self, epoch: int, batches: Iterator[T], steps: int) -> Iterator[T]:
        """Pass the batches of an epoch on, moving the bar."""
        name = f"epoch {epoch + 1}/{self.epochs}"
        total, completed = self.epochs * steps, epoch * steps
        self._bar.update(self._total, description=name, total=total, completed=completed, visible=True)
        for batch in batches:
            yield batch
            self._bar.advance(self._total)

    def losses(self, losses: Mapping[str, float]) -> None:
        """Show the mean losses so far, and the memory in use."""
        text = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
        self._bar.update(self._total, losses=f"{text} {peak_memory()}")

    def epoch(self, row: Mapping[str, float], *, is_best: bool) -> None:
        """Print the line of a finished epoch, and below it the gates where there are any."""
        count = f"{row['epoch']:.0f}/{self.epochs}"
        losses = " ".join(f"{row[f'train/{name}']:6.4f}" for name in ("box", "obj", "cls"))
        measures = " ".join(_measure(row[f"val/{name}"]) for name in MEASURES)
        rest = f"{row['images_per_second']:6.1f} {peak_memory():>8}{'  best' if is_best else ''}"
        # Soft wrapping leaves a line whole in a log, whatever its length.
        self.console.print(f"{count:>8} {losses} {measures} {rest}", highlight=False, soft_wrap=True)
        gates = {name.removeprefix("gate/"): value for name, value in row.items() if name.startswith("gate/")}
        if gates:
            text = "  ".join(f"{name} {value:+.4f}" for name, value in gates.items())
            self.console.print(f"{'gates':>8} {text}", markup=False, highlight=False, soft_wrap=True)


def peak_memory() -> str:
    """Return the largest memory so far: of the GPU where there is one, else of this process."""
    if torch.cuda.is_available():
        return f"{torch.cuda.max_memory_reserved() / 2**30:.1f} GiB"
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30:.1f} GiB"


def _measure(value: float) -> str:
    return f"{'-':>6}" if math.isnan(value) else f"{value:6.3f}"
