"""Anchors that suit a data set: the fraction of boxes that they match, and a fit if they match too few.

The fit is k-means over widths and heights (YOLO9000, arXiv:1612.08242, section 2), then a (1+1) evolution strategy on
the matching rule itself, which k-means does not consider.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regard.errors import RegardError

Sizes = NDArray[np.float64]

_MOST_BOXES = 5_000  # more change nine anchors little, and cost time in every generation
_SMALLEST_SIDE = 2.0  # pixels: a smaller box cannot be learned at this input size, and would pull an anchor to itself


@dataclass(frozen=True)
class AnchorCheck:
    """How well anchors suit a data set, and the anchors to use.

    Attributes:
        anchors: (levels, A, 2) widths and heights in pixels: the given ones, or fitted ones that reach more boxes.
        recall: best possible recall of ``anchors``: the fraction of boxes that at least one of them can be assigned to.
        recall_before: the same for the given anchors.
        refitted: whether ``anchors`` are not those given.
    """

    anchors: Sizes
    recall: float
    recall_before: float
    refitted: bool


def best_possible_recall(boxes_wh: Sizes, anchors: Sizes, threshold: float = 4.0) -> float:
    """Measure the fraction of boxes that differ from some anchor by less than ``threshold`` in both sides.

    Args:
        boxes_wh: (N, 2) in pixels at the network's input.
        anchors: (..., 2) in the same pixels.
        threshold: largest ratio of box side to anchor side.

    Returns:
        0..1; 1 where there are no boxes.

    Example:
        >>> best_possible_recall(np.array([[10.0, 30.0], [10.0, 90.0]]), np.array([[10.0, 10.0]]))
        0.5
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
        least_recall: below this the anchors are fitted again.
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
    """Fit anchors to a data set: (levels, per_level, 2) in pixels, the smallest on the first level.

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
    """(N, K): the smaller of the ratios of the two sides, each at most 1; 1 for equal sizes."""
    ratio = boxes[:, None] / anchors[None]
    similarity: Sizes = np.minimum(ratio, 1 / ratio).min(axis=2)
    return similarity


def _fitness(boxes: Sizes, anchors: Sizes, threshold: float) -> float:
    """Mean similarity of each box to its best anchor, 0 for boxes that none reaches."""
    best = _similarity(boxes, anchors).max(axis=1)
    return float((best * (best > 1 / threshold)).mean())


def _k_means(points: Sizes, k: int, rng: np.random.Generator, iterations: int = 30) -> Sizes:
    """k centres of the points by SciPy; where there are fewer distinct points than k, these, some more than once."""
    from scipy.cluster.vq import kmeans2

    distinct = np.unique(points, axis=0)
    if len(distinct) <= k:
        return distinct[np.arange(k) % len(distinct)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "One of the clusters is empty")  # its centre stays in place
        centres: Sizes = kmeans2(points, k, iter=iterations, minit="++", seed=rng)[0]
    return centres


def _evolve(boxes: Sizes, anchors: Sizes, threshold: float, generations: int, rng: np.random.Generator) -> Sizes:
    """Multiply sides by random factors, and keep every result that is fitter."""
    fitness = _fitness(boxes, anchors, threshold)
    for _ in range(generations):
        changes = rng.random(anchors.shape) < 0.5
        candidate = np.maximum(anchors * np.exp(changes * rng.normal(0, 0.1, anchors.shape)), _SMALLEST_SIDE)
        candidate_fitness = _fitness(boxes, candidate, threshold)
        if candidate_fitness > fitness:
            anchors, fitness = candidate, candidate_fitness
    return anchors
