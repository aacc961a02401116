"""The table of results, one row per epoch: ``results.csv``."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from regard.system.files import write_file
from regard.training.callbacks.base import Callback
from regard.training.callbacks.events import EpochEnd, EpochRow, RunStart


class ResultsCsv(Callback):
    """Writes ``results.csv`` whole after every epoch."""

    def on_run_start(self, event: RunStart) -> None:
        """Write the rows of the epochs that are finished."""
        self._file = event.folder / "results.csv"
        write_csv(self._file, event.rows)

    def on_epoch_end(self, event: EpochEnd) -> None:
        """Write all rows."""
        write_csv(self._file, event.rows)


def write_csv(file: Path, rows: Sequence[EpochRow]) -> None:
    """Write rows with a column for every name that any of them has, six significant digits, empty where it has none."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows([{name: f"{value:.6g}" for name, value in row.items()} for row in rows])
    write_file(file, text.getvalue())
