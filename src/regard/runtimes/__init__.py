"""Everything that runs a detector outside training: exported files, compiled models, and the choice among them.

Nothing here, or in what it imports at its top, imports torch: with a compiled model, predicting does without it.
"""

from __future__ import annotations

from regard.runtimes.choose import check_model, open_predictor

__all__ = ["check_model", "open_predictor"]
