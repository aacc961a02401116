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
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

T = TypeVar("T")

HEADER = (
    f"{'epoch':>9} {'box':>7} {'obj':>7} {'cls':>7} {'AP':>7} {'AP50':>7} {'P':>6} {'R':>6} {'img/s':>6} {'memory':>8}"
)


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
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[losses]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not (enabled and self.console.is_terminal),
        )
        self._total = self._bar.add_task("", losses="", visible=False)

    def __enter__(self) -> Progress:
        self.console.print(HEADER, style="bold")
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def say(self, what: RenderableType) -> None:
        """Print something above the bar."""
        self.console.print(what)

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
        text = "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
        self._bar.update(self._total, losses=f"{text}  {peak_memory()}")

    def epoch(self, row: Mapping[str, float], *, is_best: bool) -> None:
        """Print the line of a finished epoch."""
        count = f"{row['epoch']:.0f}/{self.epochs}"
        losses = " ".join(f"{row[f'train/{name}']:7.4f}" for name in ("box", "obj", "cls"))
        measures = " ".join(_measure(row[f"val/{name}"], width) for name, width in _MEASURES)
        gates = "".join(f"  {name} {value:+.3f}" for name, value in row.items() if name.startswith("gate/"))
        rest = f"{row['images_per_second']:6.1f} {peak_memory():>8}{'  best' if is_best else ''}{gates}"
        self.console.print(f"{count:>9} {losses} {measures} {rest}", highlight=False)


_MEASURES = (("ap", 7), ("ap50", 7), ("precision", 6), ("recall", 6))


def peak_memory() -> str:
    """Return the largest memory so far: of the GPU where there is one, else of this process."""
    if torch.cuda.is_available():
        return f"{torch.cuda.max_memory_reserved() / 2**30:.1f} GiB"
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30:.1f} GiB"


def _measure(value: float, width: int) -> str:
    return f"{'-':>{width}}" if math.isnan(value) else f"{value:{width}.3f}"
