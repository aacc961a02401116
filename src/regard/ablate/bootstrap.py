"""An interval over images: how far the difference of the detectors at hand depends on the images it is measured on.

The detectors stay as they are, so this says nothing about another seed: it stands beside the interval over seeds and
does not replace it. All detectors are measured on the same drawn images (Efron 1979, Ann. Statist. 7:1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

DRAWS = 1000
"""Draws by default."""

Measure = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""From (draws, images) how often each image counts, to (draws,) the metric."""


def draw_images(images: int, draws: int = DRAWS, seed: int = 0) -> NDArray[np.int64]:
    """Return (draws, images) how often each image was drawn, ``images`` draws with replacement."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(images, np.full(images, 1 / images), size=draws)


def image_interval(
    pairs: Sequence[tuple[Measure, Measure]], weights: NDArray[np.int64], level: float
) -> tuple[float, float]:
    """Return the percentile interval of the difference, averaged over seeds, of fixed detectors on drawn images.

    Args:
        pairs: for each seed the measure of the variant and that of the base.
        weights: (draws, images) from `draw_images`.
        level: of coverage, in 0..1.

    Returns:
        Lower and upper end; NaN without pairs, or where no draw holds a labelled box.
    """
    if not pairs:
        return np.nan, np.nan
    difference = np.mean([variant(weights) - base(weights) for variant, base in pairs], axis=0)
    known = difference[~np.isnan(difference)]
    if not known.size:
        return np.nan, np.nan
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return low, high
