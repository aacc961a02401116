"""Detectors that find something without being trained."""

from __future__ import annotations

import torch

from regard.graph.detector import Detector


def excited(detector: Detector) -> Detector:
    """Give a detector weights by which many scores are far from 0 and 1."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in detector.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=1.5 / parameter[0].numel() ** 0.5, generator=generator)
        for name, parameter in detector.head.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
    return detector.eval()
