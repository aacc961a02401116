"""The comparison of two models."""

from __future__ import annotations

from pathlib import Path

from regard.config import IMGSZ
from regard.graph.detector import Detector
from regard.system.interrupts import interrupts_deferred
from regard.weights.detector import Model, Modules, as_detector
from regard.weights.difference import Difference, compare_detectors
from regard.weights.hub import has_weights


@interrupts_deferred()
def diff(
    a: Model, b: Model, *, imgsz: int = IMGSZ, modules: Modules | None = None, plot: str | Path | None = None
) -> Difference:
    """Compare two models: layers, tensors that the second can take from the first, and costs.

    Layers are matched as for a transfer of weights: by name and shape, otherwise by similarity in the same order.
    Mis-wired graphs are compared with a warning.

    Args:
        a: a detector, which is not changed, or what ``load`` takes.
        b: another one, of any family.
        imgsz: side of the image for which costs are counted, in pixels.
        modules: your own layers that the models need.
        plot: PNG file for a figure of both.

    Returns:
        The layers, the tensors and the costs of both; it prints as a table.

    Raises:
        RegardError: a model cannot be loaded, or ``imgsz`` is not a multiple of the largest stride.

    Example:
        >>> model = regard.load("odd-one-out")
        >>> found = regard.diff(model, regard.insert(model, "SE", after="p4"), imgsz=64)
        >>> [(layer.name, layer.change) for layer in found.layers if layer.change != "same"]
        [('p4.se', 'added'), ('head.out', 'changed')]
        >>> found.tensors.kept, found.tensors.equal
        (93, 93)
    """
    detectors = [as_detector(model, modules=modules, allow_miswired=True) for model in (a, b)]
    names = _name(a, "A"), _name(b, "B")
    with_values = all(isinstance(m, Detector) or has_weights(m) for m in (a, b))
    found = compare_detectors(*detectors, names=names, imgsz=imgsz, with_values=with_values)
    if plot is not None:
        from regard.visualize.difference import plot_difference  # not at the top: matplotlib takes long to import

        plot_difference(found, plot)
    return found


def _name(model: Model, otherwise: str) -> str:
    return otherwise if isinstance(model, Detector) else str(model)
