"""Latency of a detector and of each of its rows: medians over repeats, variants taken in turn in one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import median

import torch
from torch import Tensor

from regard.graph.detector import Detector

WARM_UP = 2
"""Runs before the first that counts."""


def row_latencies(detector: Detector, images: Tensor, repeats: int = 10) -> list[float]:
    """Measure the median time of each layer in seconds.

    Args:
        detector: in evaluation mode, on the device of ``images``.
        images: (B, 3, H, W).
        repeats: runs that count.
    """
    stamps: list[float] = []

    def stamp(*_: object) -> None:
        stamps.append(clock(images.device))

    hooks = [layer.register_forward_hook(stamp) for layer in detector.model]
    try:
        runs = []
        with torch.inference_mode():
            for _ in range(WARM_UP + repeats):
                stamps[:] = [clock(images.device)]
                detector.raw(images)
                runs.append([after - before for before, after in pairwise(stamps)])
    finally:
        for hook in hooks:
            hook.remove()
    return [median(times) for times in zip(*runs[WARM_UP:], strict=True)]


def latencies_in_turn(
    functions: Sequence[Callable[[], object]], device: torch.device, repeats: int = 10
) -> list[list[float]]:
    """Measure functions in turn, in seconds, once per repeat.

    Every repeat runs each once, so that a change in the machine's speed meets all alike and ratios can be trusted
    further than times.
    """
    runs = []
    with torch.inference_mode():
        for _ in range(WARM_UP + repeats):
            runs.append([_seconds(function, device) for function in functions])
    return [list(times) for times in zip(*runs[WARM_UP:], strict=True)]


def _seconds(function: Callable[[], object], device: torch.device) -> float:
    began = clock(device)
    function()
    return clock(device) - began


def clock(device: torch.device) -> float:
    """Wait until the device has finished its work, and read the clock in seconds."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
