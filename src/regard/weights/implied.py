"""What the tensors of a checkpoint say about its graph, where the graph alone leaves it to rules that changed.

The rules of YOLOv8 and later for the blocks of larger sizes and for the head differ between releases, so the tensors
decide.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from torch import Tensor

from regard.graph.aliases import plain_block
from regard.graph.spec import LayerSpec, ModelSpec


def as_in_weights(spec: ModelSpec, state: Mapping[str, Tensor], modules: Collection[str] = ()) -> ModelSpec:
    """Copy a graph with the forms of its blocks and of its anchor-free head that the tensors have.

    Args:
        spec: the graph of a checkpoint.
        state: its tensors, by ``model.<row>....``.
        modules: names of the user's own classes, whose rows are left as they are.
    """
    layers = [
        layer if layer.module in modules else _of_row(layer, f"model.{i}.", state)
        for i, layer in enumerate(spec.layers)
    ]
    return replace(spec, layers=tuple(layers))


def _of_row(layer: LayerSpec, prefix: str, state: Mapping[str, Tensor]) -> LayerSpec:
    if layer.module in ("AnchorFreeDetect", "v10Detect"):
        return replace(layer, options={**layer.options, **_head(layer.module, prefix, state)})
    if plain_block(layer.module) == "C3k2" and f"{prefix}m.0.cv1.conv.weight" in state:
        return _with(layer, 1, f"{prefix}m.0.cv3.conv.weight" in state)
    if layer.module == "A2C2f" and len(layer.args) > 1 and layer.args[1] is True:
        has_gamma = f"{prefix}gamma" in state
        if has_gamma != (len(layer.args) > 3 and layer.args[3] is True):
            layer = _with(layer, 2, layer.args[2] if len(layer.args) > 2 else 1)
            layer = _with(_with(layer, 3, has_gamma), 4, 1.2 if has_gamma else 2.0)
    return layer


def _with(layer: LayerSpec, index: int, value: object) -> LayerSpec:
    return replace(layer, args=(*layer.args[:index], value, *layer.args[index + 1 :]))


def _head(module: str, prefix: str, state: Mapping[str, Tensor]) -> dict[str, object]:
    bins, scores = state.get(f"{prefix}cv2.0.2.weight"), state.get(f"{prefix}cv3.0.2.weight")
    if bins is None or scores is None:
        return {}
    options: dict[str, object] = {"hidden_classes": scores.shape[1]}
    if module == "AnchorFreeDetect":
        options |= {
            "reg_max": bins.shape[0] // 4,
            "end2end": f"{prefix}one2one_cv2.0.2.weight" in state,
            "depthwise": f"{prefix}cv3.0.0.0.conv.weight" in state,
        }
    return options
