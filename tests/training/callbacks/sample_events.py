"""Events that the tests of callbacks share; the fields that no callback under test reads are left empty."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from regard.training.callbacks import BatchEnd, EpochEnd, EpochStart, RunEnd

EMPTY: Any = None

ROW = {
    "epoch": 3.0,
    "train/box": 0.13721,
    "train/obj": 0.01,
    "train/cls": 0.5,
    "val/ap": 0.25,
    "val/ap50": 0.5,
    "val/precision": math.nan,
    "val/recall": 1.0,
    "images_per_second": 1234.56,
}
LOSSES = {"box": 0.13721, "obj": 0.01, "cls": 0.5}
START = EpochStart(epoch=3, epochs=7, steps=11, model=EMPTY)
BATCH = BatchEnd(
    epoch=3, step=5, steps=11, batch=EMPTY, losses={"box": 0.1234, "obj": 0.0234, "cls": 0.0034}, lr=0.01, model=EMPTY
)
EPOCH = EpochEnd(
    epoch=3, epochs=7, losses=LOSSES, metrics=EMPTY, is_best=False, rows=[ROW], model=EMPTY, averaged=EMPTY
)
END = RunEnd(
    folder=Path("run"), epoch=7, rows=[ROW], model=EMPTY, weights=Path("w"), metrics=EMPTY, gates={}, reason=""
)
