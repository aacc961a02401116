"""Anchors that suit a data set: how many boxes they can reach, and a fit where they reach too few.

The fit is k-means over widths and heights (YOLO9000, arXiv:1612.08242, section 2), then a (1+1) evolution strategy on
the matching rule itself, which k-means does not know.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regard.errors import RegardError

Sizes = NDArray[np.float64]

_MOST_BOXES = 5_000  # more say nothing new about nine anchors, and cost time in every generation
_SMALLEST_SIDE = (
    2.0  # pixels: a box below this at the input's size cannot be learned and would pull an anchor to itself
)


@dataclass(frozen=True)
class AnchorCheck:
    """How well anchors suit a data set, and the anchors to use.

    Attributes:
        anchors: (levels, A, 2) widths and heights in pixels: those given, or fitted ones that reach more boxes.
        recall: best possible recall of ``anchors``: the fraction of boxes that at least one of them may answer for.
        recall_before: the same of the anchors given.
        refitted: whether ``anchors`` are not those given.
    """

    anchors: Sizes
    recall: float
    recall_before: float
    refitted: bool


def best_possible_recall(boxes_wh: Sizes, anchors: Sizes, threshold: float = 4.0) -> float:
    """Return the fraction of boxes that differ from some anchor by less than ``threshold`` in both sides.

    Args:
        boxes_wh: (N, 2) in pixels at the network's input.
        anchors: (..., 2) in the same pixels.
        threshold: largest ratio of box side to anchor side.

    Returns:
        0..1; 1 where there are no boxes.
    """
    best = _similarity(boxes_wh, anchors.reshape(-1, 2)).max(axis=1)
    return float((best > 1 / threshold).mean()) if len(best) else 1.0


def check_anchors(
    boxes_wh: Sizes, anchors: Sizes, *, threshold: float = 4.0, least_recall: float = 0.98, seed: int = 0
) -> AnchorCheck:
    """Measure ``anchors``, and fit new ones where their best possible recall is below ``least_recall``.

    Args:
        boxes_wh: (N, 2) in pixels at the network's input.
        anchors: (levels, A, 2) in the same pixels.
        threshold: largest ratio of box side to anchor side.
        least_recall: below this the anchors are fitted anew.
        seed: makes the fit reproducible.
    """
    before = best_possible_recall(boxes_wh, anchors, threshold)
    if before < least_recall and (boxes_wh >= _SMALLEST_SIDE).all(axis=1).any():
        levels, per_level, _ = anchors.shape
        fitted = fit_anchors(boxes_wh, levels, per_level, threshold=threshold, seed=seed)
        after = best_possible_recall(boxes_wh, fitted, threshold)
        if after > before:
            return AnchorCheck(fitted, after, before, refitted=True)
    return AnchorCheck(anchors, before, before, refitted=False)


def fit_anchors(
    boxes_wh: Sizes, levels: int, per_level: int = 3, *, threshold: float = 4.0, seed: int = 0, generations: int = 1000
) -> Sizes:
    """Return anchors for a data set, (levels, per_level, 2) in pixels, small ones on the first level.

    Args:
        boxes_wh: (N, 2) in pixels at the network's input.
        levels: detection levels.
        per_level: anchors of each level.
        threshold: largest ratio of box side to anchor side, for which the anchors are evolved.
        seed: the same seed gives the same anchors.
        generations: mutations tried after k-means.

    Raises:
        RegardError: no box is at least two pixels wide and high.
    """
    rng = np.random.default_rng(seed)
    boxes = boxes_wh[(boxes_wh >= _SMALLEST_SIDE).all(axis=1)]
    if not len(boxes):
        raise RegardError(
            "anchors cannot be fitted: no labelled box is large enough",
            expected=f"boxes of at least {_SMALLEST_SIDE:g} x {_SMALLEST_SIDE:g} pixels at the network's input size",
        )
    if len(boxes) > _MOST_BOXES:
        boxes = rng.choice(boxes, _MOST_BOXES, replace=False)
    centres = np.exp(_k_means(np.log(boxes), levels * per_level, rng))
    anchors = _evolve(boxes, centres, threshold, generations, rng)
    return anchors[np.argsort(anchors.prod(axis=1), kind="stable")].reshape(levels, per_level, 2)


def _similarity(boxes: Sizes, anchors: Sizes) -> Sizes:
    """Return (N, K): the smaller of the two sides' ratios, each at most 1, so that 1 is equality."""
    ratio = boxes[:, None] / anchors[None]
    similarity: Sizes = np.minimum(ratio, 1 / ratio).min(axis=2)
    return similarity


def _fitness(boxes: Sizes, anchors: Sizes, threshold: float) -> float:
    """Return the mean similarity of each box's best anchor, 0 for boxes that none may answer for."""
    best = _similarity(boxes, anchors).max(axis=1)
    return float((best * (best > 1 / threshold)).mean())


def _k_means(points: Sizes, k: int, rng: np.random.Generator, iterations: int = 30) -> Sizes:
    """Lloyd's algorithm from k-means++ seeds; a cluster that loses all its points stays where it is."""
    centres = points[rng.integers(len(points), size=1)]
    while len(centres) < k:
        distance = _squared_distances(points, centres).min(axis=1)
        total = distance.sum()
        chosen = rng.choice(len(points), p=distance / total if total > 0 else None)  # fewer distinct points than k
        centres = np.vstack((centres, points[chosen]))
    for _ in range(iterations):
        nearest = _squared_distances(points, centres).argmin(axis=1)
        moved = np.array([points[nearest == i].mean(axis=0) if (nearest == i).any() else centres[i] for i in range(k)])
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres


def _squared_distances(points: Sizes, centres: Sizes) -> Sizes:
    distances: Sizes = np.square(points[:, None] - centres[None]).sum(axis=2)
    return distances


def _evolve(boxes: Sizes, anchors: Sizes, threshold: float, generations: int, rng: np.random.Generator) -> Sizes:
    """Multiply sides by random factors, and keep the result wherever it is fitter."""
    fitness = _fitness(boxes, anchors, threshold)
    for _ in range(generations):
        changes = rng.random(anchors.shape) < 0.5
        candidate = np.maximum(anchors * np.exp(changes * rng.normal(0, 0.1, anchors.shape)), _SMALLEST_SIDE)
        candidate_fitness = _fitness(boxes, candidate, threshold)
        if candidate_fitness > fitness:
            anchors, fitness = candidate, candidate_fitness
    return anchors
