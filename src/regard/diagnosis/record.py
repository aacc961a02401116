"""What the folder of a training run states, whichever package wrote it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, Field, ValidationError

from regard.config import flattened
from regard.config.faults import first_fault
from regard.errors import RegardError, first_names
from regard.system.files import is_file, reject_special
from regard.system.loaders import parse_csv, read_text, read_yaml

Package = Literal["regard", "yolov5", "ultralytics"]
Row = dict[str, float]
Side = Annotated[int, Field(ge=1)]
T = TypeVar("T", bound=BaseModel)

TABLE = "results.csv"
MOST_ROWS = 1_000_000
MOST_LISTED = 6
COLUMNS: Mapping[str, str] = {
    "val/ap": "ap",
    "metrics/mAP_0.5:0.95": "ap",
    "metrics/mAP50-95(B)": "ap",
    "metrics/mAP50-95": "ap",
    "val/ap50": "ap50",
    "metrics/mAP_0.5": "ap50",
    "metrics/mAP50(B)": "ap50",
    "metrics/mAP50": "ap50",
    "x/lr0": "lr",
    "lr/pg0": "lr",
}
"""Columns of the three packages by their common name; others keep their own."""
TASKS: Mapping[str, str] = {"(M)": "segment", "(P)": "pose", "metrics/accuracy_top1": "classify"}
"""Ends of names of columns that only tables of another task have."""


@dataclass(frozen=True)
class Schedule:
    """How the run was to learn.

    Attributes:
        optimizer: lower-case name, such as "sgd"; "auto" where the package chose it and its rate.
        lr: learning rate after warm-up.
        nominal_batch: images that an update gathers at least; 0 for those of one batch.
        warmup_epochs: length of the warm-up.
        warmup_min_steps: its smallest length in steps.
        ends_before_last: whether it ends before the last epoch, however long it should be.
    """

    optimizer: str
    lr: float
    nominal_batch: int
    warmup_epochs: float
    warmup_min_steps: int
    ends_before_last: bool = False


@dataclass(frozen=True)
class TrainingRecord:
    """A training run as its folder states it.

    Attributes:
        folder: the folder.
        package: what wrote it.
        settings_file: the file that states the settings.
        rows: results per epoch, epochs counted from 1, with "ap" and "ap50" from 0 to 1.
        epochs: number that was planned.
        batch: images per step; 0 if the package chose it.
        imgsz: side of the input in pixels.
        patience: epochs without improvement before the run stops; 0 never stops.
        schedule: how it was to learn.
        data: path or name of the data set; "" if unknown.
        start: file or name of the model that it started from; None if unknown, "" for fresh weights.
        weights: file with the best weights; None if there is none.
        anchor_threshold: largest ratio of a box side to an anchor side.
        data_options: how the data set is read, see `load_data`.
        data_names: class names that the folder states; empty if it does not.
        images: number of training images that the folder states; 0 if it does not.
        settings: all settings as text, for comparison with another run.
        torn: lines of the table that were not written completely, as where the run was killed.
        unmeasured: why there is no AP of all or some epochs; "" if there is, or if no epoch was finished.
        fraction: part of the training images that were trained on.
        drawn: fraction and seed by which val is chosen from a data set that names none; None if it is not.
        val_images: number of validation images that the folder states; 0 if it does not.
    """

    folder: Path
    package: Package
    settings_file: Path
    rows: Sequence[Row]
    epochs: int
    batch: int
    imgsz: int
    patience: int
    schedule: Schedule
    data: str = ""
    start: str | None = None
    weights: Path | None = None
    anchor_threshold: float = 4.0
    data_options: Mapping[str, Any] = field(default_factory=dict)
    data_names: tuple[str, ...] = ()
    images: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)
    torn: tuple[int, ...] = ()
    unmeasured: str = ""
    fraction: float = 1.0
    drawn: tuple[float, int] | None = None
    val_images: int = 0

    def values(self, name: str) -> list[tuple[int, float]]:
        """Epochs at which a column has a finite number, and the numbers."""
        found = ((int(row["epoch"]), row[name]) for row in self.rows if name in row)
        return [(epoch, value) for epoch, value in found if math.isfinite(value)]

    @property
    def best(self) -> tuple[int, float] | None:
        """Epoch and value of the highest AP; None if it was never measured."""
        return max(self.values("ap"), key=lambda pair: (pair[1], -pair[0]), default=None)

    @property
    def finished(self) -> int:
        """Number of the last epoch in the table, 0 without any."""
        return int(self.rows[-1]["epoch"]) if self.rows else 0


class Table(NamedTuple):
    """Results per epoch, the lines that were not written completely, and why there is no AP, or ""."""

    rows: list[Row]
    torn: tuple[int, ...] = ()
    unmeasured: str = ""


def read_table(file: Path, *, weights: Path | None = None, only_last: bool = False) -> Table:
    """Read ``results.csv`` of any of the packages; of an epoch that occurs twice, the last row counts.

    A run that was killed may leave an incomplete last line without its end, and one that was resumed then such a line
    in the middle, alone or with the next row: they are left out. One that was killed in its first epoch leaves no
    weights, and no table or one without rows. Weights are written after the row of an epoch: where they are and the
    table has no rows, it was removed or damaged, and the results are unknown.

    Args:
        file: the table.
        weights: those that the run has written; None if there are none.
        only_last: whether AP was measured after the last epoch only, and is no result in others.

    Raises:
        RegardError: no fewer lines are unreadable than readable, or the table is that of another task than detection.
    """
    reject_special(file)
    if not is_file(file):
        old = file.with_suffix(".txt")
        if is_file(old):
            return Table([], (), f"the results are in {old.name}, which has no names of columns")
        return Table([], (), f"there are weights, but no {file.name}" if weights else "")
    text = read_text(file).rstrip("\0")  # what a file system may append when the machine stops
    damaged = f"there are weights, but {file.name} has no results: it is damaged" if weights else ""
    if not text.strip():
        return Table([], (), damaged)
    header, *lines = parse_csv(text, file, most=MOST_ROWS)
    is_whole = text.endswith(("\n", "\r"))
    if not is_whole and not lines:
        return Table([], (1,), damaged)
    names = _names(header, file)
    read, torn = _rows(names, lines, file, is_whole)
    rows = _by_epoch(read)
    return Table(rows, torn, _without_ap(rows, names, only_last) if rows else damaged)


def _names(header: Sequence[str], file: Path) -> list[str]:
    """Common names of the columns."""
    names = [COLUMNS.get(name.strip(), name.strip()) for name in header]
    for mark, task in TASKS.items():
        if any(name.endswith(mark) for name in names):
            raise RegardError(f"a run of the task {task!r}", file=file, expected="a run of detection")
    if "epoch" not in names:
        raise RegardError("no table of results", file=file, line=1, expected="a column called epoch")
    return names


def _rows(
    names: Sequence[str], lines: Sequence[Sequence[str]], file: Path, is_whole: bool
) -> tuple[list[Row], tuple[int, ...]]:
    """Rows that can be read, and the numbers of the lines that cannot."""
    rows: list[Row] = []
    faults: dict[int, RegardError] = {}
    for number, cells in enumerate(lines, 2):
        if "epoch" in (cell.strip() for cell in cells):  # a resumed run may write its header again
            names = _names(cells, file)
        elif any(cells):
            try:
                rows.append(_row(names, cells, file, number))
            except RegardError as error:
                faults[number] = error
    is_usual = not is_whole and set(faults) == {len(lines) + 1}
    if faults and len(faults) >= len(rows) and not is_usual:
        raise next(iter(faults.values()))
    return rows, tuple(faults)


def _without_ap(rows: Sequence[Row], names: Sequence[str], only_last: bool) -> str:
    """Why there is no AP; what is none is removed from the rows."""
    if "ap" not in names:
        return "the table has no column of AP that is known"
    highest = max((row["ap"] for row in rows if math.isfinite(row.get("ap", math.nan))), default=0)
    first_of = 0
    reason = ""
    if highest > 1:
        first_of, reason = len(rows), f"AP is up to {highest:g} in the table, not from 0 to 1: perhaps in percent"
    elif only_last:
        first_of = len(rows) - (rows[-1].get("ap", 0) > 0)
        reason = "AP was measured after the last epoch only, as the settings say"
    for row in rows[:first_of]:
        row.pop("ap", None)
        row.pop("ap50", None)
    return reason


def _by_epoch(rows: Sequence[Row]) -> list[Row]:
    first = min((row["epoch"] for row in rows), default=1)
    by_epoch = {row["epoch"]: row for row in rows}
    if first == 0:
        by_epoch = {epoch + 1: {**row, "epoch": epoch + 1} for epoch, row in by_epoch.items()}
    return [by_epoch[epoch] for epoch in sorted(by_epoch)]


def _row(names: Sequence[str], cells: Sequence[str], file: Path, line: int) -> Row:
    if len(cells) != len(names):
        raise RegardError(f"{len(cells)} values in {len(names)} columns", file=file, line=line)
    row: Row = {}
    for name, cell in zip(names, cells, strict=True):
        if cell.strip():
            try:
                row[name] = float(cell)
            except ValueError as error:
                raise RegardError(
                    f"{name} is {cell.strip()!r:.80}", file=file, line=line, expected="a number"
                ) from error
    if not (math.isfinite(row.get("epoch", math.nan)) and row["epoch"] >= 0):
        raise RegardError("a row without its epoch", file=file, line=line, expected="a number from 0")
    return row


def read_settings(file: Path, kind: type[T]) -> tuple[T, dict[str, Any]]:
    """Read a YAML file of settings, checked, and as it is.

    Raises:
        RegardError: it is missing or damaged, or a value is of another type.
    """
    document = read_yaml(file)[0]
    if not isinstance(document, dict):
        raise RegardError("there are no settings", file=file, expected="a mapping")
    return checked_settings(document, file, kind), {str(key): value for key, value in document.items()}


def checked_settings(document: Mapping[Any, Any], file: Path, kind: type[T]) -> T:
    """Check settings; one without a value counts as not stated.

    Raises:
        RegardError: a value is missing or of another type.
    """
    try:
        return kind.model_validate({str(key): value for key, value in document.items() if value is not None})
    except ValidationError as error:
        fault = first_fault(error)
        raise RegardError(fault.what, file=file, expected=fault.expected) from error


def flat_settings(values: Mapping[str, Any]) -> dict[str, str]:
    """Flatten nested settings to dotted names with their values as text."""
    return {name: f"{value}" for name, value in flattened(values).items()}


def described_torn(run: TrainingRecord) -> str:
    """The lines of the table that are left out, as the end of a sentence; "" if there are none."""
    if not run.torn:
        return ""
    if len(run.torn) == 1:
        return f"; line {run.torn[0]} of the table was not written completely"
    listed = first_names(run.torn, MOST_LISTED)
    return f"; {len(run.torn)} lines of the table were not written completely: {listed}"


def checkpoint_of(folder: Path) -> Path | None:
    """The best weights of a run of YOLOv5 or of Ultralytics, else its last ones; None if there are none."""
    names = ("weights/best.pt", "weights/last.pt", "best.pt", "last.pt")
    return next((folder / name for name in names if is_file(folder / name)), None)
