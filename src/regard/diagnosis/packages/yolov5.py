"""Run folders of YOLOv5 v6: ``opt.yaml``, ``hyp.yaml``, ``results.csv`` and ``weights/best.pt``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from regard.diagnosis.record import (
    TABLE,
    Schedule,
    Side,
    TrainingRecord,
    checked_settings,
    checkpoint_of,
    flat_settings,
    read_settings,
    read_table,
)
from regard.system.files import is_file

SETTINGS = "opt.yaml"
NOMINAL_BATCH = 64
WARMUP_MIN_STEPS = 100


class _Options(BaseModel):
    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    weights: str | list[str] | None = ""
    cfg: str | None = ""
    data: str | None = ""
    hyp: dict[Any, Any] | str | None = None
    epochs: int = Field(300, ge=1)
    batch_size: int = 16
    imgsz: Side | list[Side] = 640
    optimizer: str = "SGD"
    patience: int = Field(100, ge=0)
    single_cls: bool = False
    noval: bool = False
    resume: bool | str = False


class _Hyp(BaseModel):
    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    lr0: float = Field(0.01, ge=0)
    warmup_epochs: float = Field(3.0, ge=0)
    anchor_t: float = Field(4.0, gt=0)


def read(folder: Path) -> TrainingRecord:
    """Read what a run folder states.

    Raises:
        RegardError: a file is missing or damaged.
    """
    file = folder / SETTINGS
    options, stated = read_settings(file, _Options)
    values = read_settings(folder / "hyp.yaml", _Hyp)[1] if is_file(folder / "hyp.yaml") else options.hyp
    values = values if isinstance(values, dict) else {}
    hyp = checked_settings(values, folder / "hyp.yaml", _Hyp)
    sides = options.imgsz if isinstance(options.imgsz, list) else [options.imgsz]
    start = options.weights[0] if isinstance(options.weights, list) and options.weights else options.weights
    weights = checkpoint_of(folder)
    table = read_table(folder / TABLE, weights=weights, only_last=options.noval)
    return TrainingRecord(
        folder=folder,
        package="yolov5",
        settings_file=file,
        rows=table.rows,
        torn=table.torn,
        unmeasured=table.unmeasured,
        epochs=options.epochs,
        batch=max(options.batch_size, 0),
        imgsz=sides[0] if sides else 640,
        patience=options.patience,
        schedule=Schedule(options.optimizer.lower(), hyp.lr0, NOMINAL_BATCH, hyp.warmup_epochs, WARMUP_MIN_STEPS),
        data=options.data or "",
        start=None if options.resume else str(start or ""),  # a resumed run states its own weights
        weights=weights,
        anchor_threshold=hyp.anchor_t,
        data_options={"single_cls": options.single_cls},
        settings=flat_settings({**stated, **values}),
    )
