"""Layers that a graph has in common with a detector, taken from it instead of built again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from regard.graph.detector import Detector
from regard.graph.spec import IMAGE, LayerInfo, LayerSpec, ModelSpec

PROBE = 256
"""Side of the image on which shapes are measured; a multiple of every stride in use."""


@dataclass(frozen=True)
class Built:
    """One layer, the facts measured, and its output for the probe image."""

    layer: nn.Module
    info: LayerInfo
    output: Tensor | list[Tensor]


class Known:
    """The layers of a detector, which another graph may share; none where it is not in float32 on the processor.

    Args:
        detector: owner of the layers.
        modules: the user's own classes with which the other graph is built.
    """

    def __init__(self, detector: Detector, modules: Mapping[str, type[nn.Module]]) -> None:
        self._spec, self._modules = detector.spec, modules
        self._own, self._settings = detector.user_modules, replace(detector.spec, layers=())
        tensors = (*detector.parameters(), *detector.buffers())
        plain = all(t.device.type == "cpu" and (t.dtype == torch.float32 or not t.is_floating_point()) for t in tensors)
        rows = zip(self._spec.layers, detector.model, strict=True) if plain else ()
        self._layers = {row.name: (row, layer) for row, layer in rows}

    def find(self, row: LayerSpec, spec: ModelSpec, inputs: Sequence[Any]) -> Built | None:
        """Find the layer of a row: of equal name, class and arguments, in a graph of equal settings, on equal maps."""
        old, layer = self._layers.get(row.name, (None, None))
        if old is None or layer is None or replace(old, inputs=row.inputs) != row:
            return None
        if self._settings != replace(spec, layers=()):
            return None
        if self._own.get(row.module) is not self._modules.get(row.module):
            return None
        shapes = [self._shape(name) for name in old.inputs]
        if not all(isinstance(x, Tensor) and (*x.shape[1:],) == shape for x, shape in zip(inputs, shapes, strict=True)):
            return None
        info = self._spec.info[row.name]
        return Built(layer, info, torch.zeros(1, *info.shape) if info.shape else [])

    def _shape(self, name: str) -> tuple[int, ...]:
        return (3, PROBE, PROBE) if name == IMAGE else self._spec.info[name].shape
