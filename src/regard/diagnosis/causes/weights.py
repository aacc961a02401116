"""Causes in the weights that the training started from: none, lost, or in the layer of another.

YOLOv5's and Ultralytics' training take over tensors of equal name and shape; names are positions in the graph, so an
inserted row gives every later layer the tensors of its neighbour, or none. Whatever was loaded, trained kernels remain
similar to those that they started from, and are orthogonal to all others: with n values, the cosine of independent
kernels has mean 0 and standard deviation 1 / sqrt(n).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from statistics import median

import torch
from torch import Tensor

from regard.diagnosis.case import Case
from regard.diagnosis.findings import Finding
from regard.weights.transfer import transfer

LEAST_VALUES = 256
"""Values of a kernel for which independent ones have a cosine within 0.2 almost always."""
RELATED = 0.2
"""Cosine from which on a kernel counts as trained from another."""
MOST_LOST = 0.1
"""Fraction of kernels that may be unrelated."""
LARGE = 10_000
"""Training images from which on fresh weights can be enough."""


def start_weights(case: Case) -> Finding | None:
    """Pretrained weights that were not used, were lost, or were loaded into another layer."""
    if case.starts_fresh:
        return _fresh(case)
    start, trained = case.start, case.detector
    target = copy.deepcopy(trained)
    with torch.no_grad():
        report = transfer(start.state_dict(), start.spec, start.names, target)
    ours, theirs = start.state_dict(), trained.state_dict()
    pairs = {**{key: key for key in report.kept}, **report.moved}
    kernels = {key: source for key, source in pairs.items() if _is_kernel(theirs[key])}
    lost = {key: source for key, source in kernels.items() if _cosine(theirs[key], ours[source]) < RELATED}
    if not kernels or len(lost) <= MOST_LOST * len(kernels):
        return None
    swapped = {key: key for key in lost if key != lost[key] and _is_from(theirs[key], ours, key)}
    stated = case.stated_start or "its start"
    if swapped:
        key = next(iter(swapped))
        names = report.layer_of[key], report.source_layer_of[key], report.source_layer_of[lost[key]]
        evidence = (
            f"{len(swapped)} of the {len(kernels)} kernels that {stated} has for this graph went to another layer, and "
            f"{len(lost) - len(swapped)} were lost; layer {names[0]!r} started with those of {names[1]!r}, not with "
            f"those of {names[2]!r}"
        )
    else:
        cosine = median(_cosine(theirs[key], ours[source]) for key, source in lost.items())
        first = report.layer_of[next(iter(lost))]
        evidence = f"all {len(kernels)} kernels that {stated} has for this graph were lost"
        if len(lost) < len(kernels):
            evidence = (
                f"{len(lost)} of the {len(kernels)} kernels that {stated} has for this graph were lost, the first in "
                f"layer {first!r}"
            )
        evidence += f"; median cosine with the trained kernels: {cosine:+.2f}"
    advice = "load them by structure: regard insert, or --weights; for another package: regard convert"
    if case.run.settings.get("pretrained") == "False":
        advice = "the settings have pretrained: false; set it to true"
    return Finding("start_weights", "likely", evidence, advice)


def _fresh(case: Case) -> Finding | None:
    images = case.trained
    if images >= LARGE:
        return None
    stated = case.stated_start or "no file was named"
    evidence = f"training started from random weights ({stated}) with {images:,} images"
    return Finding("start_weights", "possible", evidence, "start from pretrained weights: --weights")


def _is_kernel(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.ndim >= 2 and tensor.numel() >= LEAST_VALUES


def _cosine(a: Tensor, b: Tensor) -> float:
    a, b = a.double().flatten(), b.double().flatten()
    return float(torch.dot(a, b) / (a.norm() * b.norm()).clamp(min=1e-12))


def _is_from(tensor: Tensor, state: Mapping[str, Tensor], key: str) -> bool:
    return key in state and state[key].shape == tensor.shape and _cosine(tensor, state[key]) >= RELATED
