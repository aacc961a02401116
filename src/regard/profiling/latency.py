"""Latency of a detector and of each of its rows: medians over repeats, variants taken in turn in one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from math import comb
from statistics import median

import torch
from torch import Tensor

from regard.graph.detector import Detector

WARM_UP = 2
"""Runs before the first that counts."""


def row_latencies(detector: Detector, images: Tensor, repeats: int = 10) -> list[float]:
    """Measure the median time of each layer in seconds; for the arguments see `row_times`."""
    return [median(times) for times in zip(*row_times(detector, images, repeats), strict=True)]


def row_times(detector: Detector, images: Tensor, repeats: int = 10) -> list[list[float]]:
    """Measure the time of each layer in seconds, in every repeat.

    Args:
        detector: in evaluation mode, on the device of ``images``.
        images: (B, 3, H, W).
        repeats: runs that count.

    Returns:
        One list per repeat, with the time of each layer.
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
    return runs[WARM_UP:]


def median_interval(values: Sequence[float], coverage: float = 0.95) -> tuple[float, float]:
    """Compute an interval that covers the true median with at least this probability, whatever the distribution.

    Its ends are two of the values, by the binomial distribution of how many lie below the median. Fewer than six values
    do not suffice for 95 %: their smallest and largest are returned then.

    Example:
        >>> median_interval([5.0, 1.0, 2.0, 3.0, 4.0]), median_interval([float(i) for i in range(1, 31)])
        ((1.0, 5.0), (10.0, 21.0))
    """
    ordered, n = sorted(values), len(values)
    below = accumulate(comb(n, i) / 2**n for i in range(n // 2))
    k = max(sum(2 * share <= 1 - coverage for share in below), 1)
    return ordered[k - 1], ordered[-k]


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
