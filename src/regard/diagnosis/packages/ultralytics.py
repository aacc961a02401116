"""Run folders of Ultralytics' package: ``args.yaml``, ``results.csv`` and ``weights/best.pt``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from regard.diagnosis.record import (
    TABLE,
    Row,
    Schedule,
    Side,
    TrainingRecord,
    checkpoint_of,
    flat_settings,
    read_settings,
    read_table,
)
from regard.errors import RegardError

SETTINGS = "args.yaml"


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    task: str = "detect"
    model: str | None = None
    data: str | None = None
    epochs: int = Field(100, ge=1)
    batch: float = 16
    imgsz: Side | list[Side] = 640
    patience: int = Field(100, ge=0)
    optimizer: str = "auto"
    pretrained: bool | str | None = True
    single_cls: bool = False
    lr0: float = Field(0.01, ge=0)
    nbs: int = Field(64, ge=1)
    warmup_epochs: float = Field(3.0, ge=0)
    fraction: float = Field(1.0, gt=0)
    val: bool = True
    time: float | None = Field(None, gt=0)
    resume: bool | str = False


def read(folder: Path) -> TrainingRecord:
    """Read what a run folder states.

    Raises:
        RegardError: a file is missing or damaged, or the run is of another task than detection.
    """
    file = folder / SETTINGS
    args, stated = read_settings(file, _Arguments)
    if args.task != "detect":
        raise RegardError(f"a run of the task {args.task!r:.40}", file=file, expected="a run of detection")
    sides = args.imgsz if isinstance(args.imgsz, list) else [args.imgsz]
    weights = checkpoint_of(folder)
    table = read_table(folder / TABLE, weights=weights, only_last=not args.val)
    batch = 0 if stated.get("batch", args.batch) is None else args.batch
    return TrainingRecord(
        folder=folder,
        package="ultralytics",
        settings_file=file,
        rows=table.rows,
        torn=table.torn,
        unmeasured=table.unmeasured,
        epochs=_planned(args, table.rows),
        batch=int(batch) if batch >= 1 else 0,
        imgsz=max(sides, default=640),
        patience=args.patience,
        schedule=Schedule(args.optimizer.lower(), args.lr0, args.nbs, args.warmup_epochs, 0, ends_before_last=True),
        data=args.data or "",
        start=_start(args),
        weights=weights,
        data_options={"single_cls": args.single_cls},
        settings=flat_settings(stated),
        fraction=min(args.fraction, 1.0),
    )


def _planned(args: _Arguments, rows: Sequence[Row]) -> int:
    """Epochs that were planned: with ``time``, in hours, as many as fit into it at the pace of the table, if known."""
    if args.time is None or not rows:
        return args.epochs
    times, finished = [row.get("time", math.nan) for row in rows], int(rows[-1]["epoch"])
    is_known = times[0] > 0 and times[-1] < math.inf and all(before < after for before, after in pairwise(times))
    return max(round(finished * args.time * 3600 / times[-1]), finished) if is_known else finished


def _start(args: _Arguments) -> str | None:
    """The weights that it started from: a graph is filled by the file that ``pretrained`` names.

    A resumed run states its own weights as its model, and nothing about its start.
    """
    if isinstance(args.pretrained, str):
        return args.pretrained
    return None if args.resume else args.model
