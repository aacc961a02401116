"""Latency of an edited detector, predicted from the layers of the one that it was made from, without running it.

The time of a layer is taken as proportional to its FLOPs, to the memory of its activations and to the number of its
modules. The three factors, none negative, are fitted to the measured layers of the base on this machine, so that the
prediction is as good as the new layers are like those.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls
from torch import nn

from regard.graph.detector import Detector
from regard.graph.diagram import Diagram
from regard.profiling.latency import row_latencies


@dataclass(frozen=True)
class LatencyModel:
    """A machine, as far as the latency of detectors is concerned.

    Attributes:
        factors: seconds per FLOP, per byte of activations, and per module.
        base: measured seconds of the base.
        features: of the base: FLOPs, bytes and modules.
        imgsz: side of the image in pixels.
    """

    factors: tuple[float, float, float]
    base: float
    features: tuple[float, float, float]
    imgsz: int

    def milliseconds(self, detector: Detector, drawn: Diagram) -> float:
        """Predict the latency of a detector that was made from the base: measured, plus the predicted difference.

        Args:
            detector: the edited one.
            drawn: its diagram, for images of side ``imgsz``.
        """
        own = _features(detector, drawn).sum(0)
        return float(1e3 * (self.base + np.dot(self.factors, own - np.array(self.features))))

    def rescaled(self, base: float) -> LatencyModel:
        """Adapt the model to a later measurement of the base in seconds, in which all layers change by one factor."""
        a, b, c = (factor * base / self.base for factor in self.factors)
        return replace(self, factors=(a, b, c), base=base)


def calibrate(detector: Detector, drawn: Diagram, repeats: int = 5) -> LatencyModel:
    """Measure a detector on its device, and fit the model to its layers.

    Args:
        detector: the base; unchanged.
        drawn: its diagram, which decides the size of the image.
        repeats: runs that count.

    Example:
        >>> import regard
        >>> from regard.graph.diagram import diagram
        >>> base = regard.load("odd-one-out")
        >>> model = calibrate(base, diagram(base, 64), repeats=1)
        >>> round(model.milliseconds(base, diagram(base, 64)) / (1e3 * model.base), 6)
        1.0
    """
    features, was_training, imgsz = _features(detector, drawn), detector.training, drawn.imgsz
    images = torch.rand(1, 3, imgsz, imgsz, device=next(detector.parameters()).device)
    detector.eval()
    try:
        times = np.array(row_latencies(detector, images, repeats))
    finally:
        detector.train(was_training)
    scale = np.maximum(features.max(0), 1)
    factors = nnls(features / scale, times)[0] / scale
    (per_flop, per_byte, per_module), (flops, size, modules) = factors.tolist(), features.sum(0).tolist()
    return LatencyModel((per_flop, per_byte, per_module), float(times.sum()), (flops, size, modules), imgsz)


def _features(detector: Detector, drawn: Diagram) -> NDArray[np.float64]:
    """(layers, 3): FLOPs, bytes of activations, and modules that contain no others."""
    costs = ((node.cost.flops, node.cost.saved_mib * 2**20) if node.cost else (0, 0.0) for node in drawn.nodes)
    return np.array([[*cost, _leaves(layer)] for cost, layer in zip(costs, detector.model, strict=True)], np.float64)


def _leaves(layer: nn.Module) -> int:
    return sum(not list(module.children()) for module in layer.modules())
