"""Loss of AP by a lower precision on the user's labelled images; measured once and cached."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from regard.config import Settings
from regard.types import Predictor

MAX_AP_LOSS = 0.002
"""Largest loss of AP that a lower precision may cause."""

SPLITS = ("val", "test", "all", "train")


class Calibration(Settings):
    """The result of a measurement.

    Attributes:
        data: the data set.
        split: the split that was used.
        images: number of images in it.
        imgsz: size of the input in pixels.
        ap_float32: AP by the COCO protocol.
        ap_lower: the same in the lower precision.
    """

    data: str
    split: str
    images: int
    imgsz: int
    ap_float32: float
    ap_lower: float

    @property
    def allows_lower(self) -> bool:
        """Whether the lower precision costs little enough."""
        return self.ap_float32 - self.ap_lower <= MAX_AP_LOSS

    def __str__(self) -> str:
        used = "bfloat16" if self.allows_lower else "float32"
        aps = f"AP {self.ap_float32:.4f} in float32, {self.ap_lower:.4f} in bfloat16"
        return f"{aps}, on {self.images} images of {self.data} ({self.split}) at {self.imgsz} px: {used} is used"


def calibration_file(folder: Path, data: str, imgsz: int) -> Path:
    """Where a measurement is kept: next to the compiled model, by the data's description, its date, and size."""
    path = Path(data)
    state = path.stat() if path.exists() else None
    facts = json.dumps([str(path.resolve()), state and [state.st_size, state.st_mtime_ns], imgsz])
    return folder / f"calibration-{hashlib.sha256(facts.encode()).hexdigest()[:16]}.json"


def load_calibration(file: Path) -> Calibration | None:
    """Read what was measured before; None where nothing was."""
    try:
        return Calibration.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None


def calibrate(full: Predictor, lower: Predictor, data: str, imgsz: int) -> Calibration:
    """Measure both precisions on the first of val, test, all and train that the data set has, one image at a time.

    Raises:
        RegardError: the data cannot be read, or have no class in common with the detector.
    """
    from regard.data.formats import load_data
    from regard.data.problems import drop_unreadable
    from regard.data.validation import ValidationLoader
    from regard.evaluation.run import evaluate

    loaded = load_data(data)
    split = next(name for name in SPLITS if loaded.splits.get(name))
    records = drop_unreadable(replace(loaded, splits={split: loaded.splits[split]})).splits[split]
    ap = []
    for predictor in (full, lower):
        loader = ValidationLoader(records, imgsz=imgsz, batch=1, workers=0, stride=predictor.max_stride)
        ap.append(evaluate(predictor, loader, records, loaded.names).ap)
    return Calibration(data=str(data), split=split, images=len(records), imgsz=imgsz, ap_float32=ap[0], ap_lower=ap[1])
