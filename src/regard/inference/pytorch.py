"""PyTorch, made quick where nothing can be lost by it: batch norms folded, channels last."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from regard.backend import Backend
from regard.errors import RegardError
from regard.exporting import is_exported, load_exported
from regard.graph.detector import Detector
from regard.nn.fuse import fold_batch_norm
from regard.weights.detector import load_detector


def open_with_torch(model: str | Path, modules: Mapping[str, type[nn.Module]] | None, device: str) -> Backend:
    """Open an exported file, or a detector on a device, ready to predict and no longer to be trained."""
    if is_exported(Path(model)):
        return load_exported(model)
    detector = load_detector(model, modules=modules)
    fold_batch_norm(detector.eval())
    placed = place(detector, device)
    # A user's own layer may take maps apart with `view`, which refuses this order of memory.
    return placed if modules else placed.to(memory_format=torch.channels_last)


def place(detector: Detector, device: str) -> Detector:
    """Move a detector to a device.

    Raises:
        RegardError: there is no such device here.
    """
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    try:
        return detector.to(f"cuda:{chosen}" if chosen.isdigit() else chosen)
    except (RuntimeError, AssertionError) as error:
        raise RegardError(f"device {device!r} cannot be used: {error}", hint="use --device cpu") from error
