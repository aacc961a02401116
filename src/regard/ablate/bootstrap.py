"""An interval over images: how far the difference of the detectors at hand depends on the images it is measured on.

The detectors stay as they are, so this says nothing about another seed: it stands beside the interval over seeds and
does not replace it. All detectors are measured on the same drawn images (Efron 1979, Ann. Statist. 7:1), with
`regard.evaluation.reweigh`, which takes about a second for 1,000 draws and 20,000 detections.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DRAWS = 1000
"""Draws by default."""


def draw_images(images: int, draws: int = DRAWS, seed: int = 0) -> NDArray[np.int64]:
    """Return (draws, images) how often each image was drawn, ``images`` draws with replacement."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(images, np.full(images, 1 / max(images, 1)), size=draws)


def image_interval(variant: NDArray[np.float64], base: NDArray[np.float64], level: float) -> tuple[float, float]:
    """Return the percentile interval of the difference, averaged over seeds, of fixed detectors on drawn images.

    Args:
        variant: (seeds, draws) the metric on each draw; NaN where a draw holds no labelled box.
        base: likewise, of the same seeds and draws.
        level: of coverage, in 0..1.

    Returns:
        Lower and upper end; NaN without seeds, or where no draw holds a labelled box.
    """
    if not len(variant):
        return np.nan, np.nan
    difference = (variant - base).mean(axis=0)
    known = difference[~np.isnan(difference)]
    if not known.size:
        return np.nan, np.nan
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return low, high
