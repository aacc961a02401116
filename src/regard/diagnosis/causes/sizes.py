"""Causes in the sizes of objects: too small for the input, or out of reach of the anchors."""

from __future__ import annotations

import numpy as np

from regard.diagnosis.case import Case
from regard.diagnosis.findings import Finding, NotChecked
from regard.nn.heads.anchors import best_possible_recall

LEAST_SIDE = 2.0
"""Pixels below which a side cannot be learned."""
OF_STRIDE = 0.5
"""Fraction of the finest stride below which an object is smaller than the cells tell apart."""
MOST_SMALL = 0.1
"""Fraction of boxes that may be so small."""
LEAST_RECALL = 0.98
USUAL_STRIDE = 8
"""Finest stride of a detector that cannot be read."""


def small_boxes(case: Case) -> Finding | None:
    """Objects that are hardly a pixel, or a fraction of a cell, at this input size."""
    sizes = case.sizes
    try:
        stride = min(case.detector.strides)
    except NotChecked:
        stride = USUAL_STRIDE
    side = OF_STRIDE * stride
    thin, small = sizes.min(axis=1) < LEAST_SIDE, sizes.max(axis=1) < side
    share = float((thin | small).mean())
    if share <= MOST_SMALL:
        return None
    middle = np.median(sizes.max(axis=1))
    evidence = (
        f"{share:.0%} of {len(sizes):,} training boxes have a side below {LEAST_SIDE:g} px, or both below {side:g} px, "
        f"at input size {case.run.imgsz}; the median is {middle:.1f} px, the finest stride {stride}"
    )
    return Finding(
        "small_boxes", "likely", evidence, "train and predict at a larger size, in slices, or add a level of stride 4"
    )


def anchors(case: Case) -> Finding | None:
    """Anchors to which many boxes cannot be assigned."""
    if case.run.package == "ultralytics":
        return None  # its heads have none, whether or not the weights can be read
    stated = case.detector.head.object_sizes()
    if stated is None:
        return None
    sizes = case.sizes[(case.sizes >= LEAST_SIDE).all(axis=1)]
    pairs = np.array([pair for level in stated for pair in zip(level[::2], level[1::2], strict=True)])
    recall = best_possible_recall(sizes, pairs, case.run.anchor_threshold)
    if recall >= LEAST_RECALL:
        return None
    evidence = f"the anchors can be assigned to {recall:.1%} of the training boxes at input size {case.run.imgsz}"
    return Finding(
        "anchors", "likely", evidence, "fit the anchors to the data: autoanchor, or `anchors: 3` in the graph"
    )
