"""The quickest way from a file with weights to something that finds, prepared once and kept.

Nothing here, or in what it imports at its top, imports torch: with the cache prepared, predicting does without it.
"""

from __future__ import annotations

from regard.inference.choose import open_finder, warn_of_suppression

__all__ = ["open_finder", "warn_of_suppression"]
