"""What a trained variant is worth on a split, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from regard.ablate.record import CostRecord
from regard.backend import Backend
from regard.data.dataset import Sample
from regard.data.validation import ValidationLoader
from regard.errors import RegardError
from regard.evaluation import detect
from regard.graph.cost import row_costs
from regard.graph.detector import Detector
from regard.profiling.bound import bounds
from regard.profiling.latency import latencies_in_turn
from regard.profiling.memory import LiveBytes
from regard.types import Detections

REPEATS = 20
"""Paired runs of all variants, for their latencies."""


def detect_split(backend: Backend, records: Sequence[Sample], *, imgsz: int, batch: int) -> list[Detections]:
    """Return the detections in each record's image, as training validates."""
    loader = ValidationLoader(records, imgsz=imgsz, batch=batch, workers=0, stride=backend.max_stride)
    return detect(backend, loader, records)[0]


def place_for(detector: Detector, device: str) -> Detector:
    """Return the detector on the device that training calls ``device``.

    Raises:
        RegardError: there is none.
    """
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    try:
        return detector.to(f"cuda:{chosen}" if chosen.isdigit() else chosen)
    except (RuntimeError, AssertionError) as error:
        raise RegardError(f"device {device!r} cannot be used: {error}") from error


def measure_costs(detectors: Mapping[str, Detector], *, imgsz: int, repeats: int = REPEATS) -> dict[str, CostRecord]:
    """Return the cost of each detector for one image; their latencies are taken in turn in one run.

    Args:
        detectors: by name, in evaluation mode, all on one device.
        imgsz: side of the image in pixels.
        repeats: runs that count.
    """
    device = next(next(iter(detectors.values())).parameters()).device
    image = torch.rand(1, 3, imgsz, imgsz, device=device)
    functions = [lambda model=model: model(image) for model in detectors.values()]
    times = latencies_in_turn(functions, device, repeats)
    return {
        name: _cost(detector, image, imgsz, seconds)
        for (name, detector), seconds in zip(detectors.items(), times, strict=True)
    }


def _cost(detector: Detector, image: torch.Tensor, imgsz: int, seconds: Sequence[float]) -> CostRecord:
    costs = row_costs(detector, imgsz)
    with torch.no_grad(), LiveBytes() as live:
        detector(image)
    # Of the time, row by row; what is left when all rows mix for nothing.
    left = 1 - sum(1 - 1 / bound.by_time for bound in bounds(detector, image, costs, len(seconds)))
    return CostRecord(
        parameters=sum(cost.parameters for cost in costs),
        flops=sum(cost.flops for cost in costs),
        latency_ms=[1e3 * value for value in seconds],
        peak_mib=live.peak / 2**20,
        bound=max(1 / left, 1.0) if left > 0 else float("inf"),
    )
