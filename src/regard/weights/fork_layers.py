"""Attention of other projects in checkpoints: tensors under other names, and options that only their shapes show."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from regard.errors import RegardError, RegardWarning, warn
from regard.graph.aliases import WITH_ATTENTION, meanings
from regard.graph.build import build
from regard.graph.detector import Detector
from regard.graph.spec import LayerSpec, ModelSpec
from regard.nn.attention import ATTENTION

TRIED: Mapping[str, tuple[int, ...]] = {
    "reduction": (16, 32, 8, 4, 2, 64, 1),
    "kernel_size": (7, 3, 5, 9, 11),
    "groups": (8, 32, 16, 4),
}
"""Values of options that change the shapes of tensors."""

FROM_PAPERS = ("BiFPN", "GSConv", "VoVGSCSP")
"""Blocks that other projects compute with the same tensors in several ways."""

Shapes = list[tuple[int, ...]]


def with_meanings(spec: ModelSpec, state: Mapping[str, Tensor], modules: Mapping[str, type[nn.Module]]) -> ModelSpec:
    """Copy a graph in which rows with two meanings have the one that fits the tensors of a checkpoint.

    If no tensor decides, the first number is the channels, and `as_in_tensors` finds the options.

    Args:
        spec: the graph, as it was read.
        state: its tensors, by ``model.<row>....``.
        modules: the user's own classes by name.
    """
    choices = [meanings(row, spec, modules) for row in spec.layers]
    doubtful = [i for i, rows in enumerate(choices) if len(rows) > 1 and rows[0].module in ATTENTION]
    if not doubtful:
        return spec
    with warnings.catch_warnings(action="ignore", category=RegardWarning):
        built = build(replace(spec, layers=tuple(rows[-1] for rows in choices)), modules=modules, allow_miswired=True)
    layers = list(spec.layers)
    for i in doubtful:
        channels, found = built.spec.info[layers[i].name].in_channels[0], _shapes(_of_row(state, i))
        shapes = [_shapes_of(ATTENTION[row.module], (channels,), row.options) for row in choices[i]]
        fitting = [row for row, own in zip(choices[i], shapes, strict=True) if own == found]
        layers[i] = (fitting or choices[i])[-1]
    return replace(spec, layers=tuple(layers))


def as_in_tensors(spec: ModelSpec, state: Mapping[str, Tensor]) -> ModelSpec:
    """Copy a graph with the options of its attention that fit the tensors of a checkpoint.

    Args:
        spec: the graph, built.
        state: its tensors, by ``model.<row>....``.
    """
    layers = tuple(_fitting(layer, spec, _of_row(state, i)) for i, layer in enumerate(spec.layers))
    return spec if layers == spec.layers else replace(spec, layers=layers, info={})


def with_own_keys(detector: Detector, state: Mapping[str, Tensor], classes: Mapping[int, str]) -> dict[str, Tensor]:
    """Rename the tensors of attention, in their order, where a checkpoint has other names for them.

    A warning lists the layers, since names and shapes do not show whether both compute the same.

    Args:
        detector: the detector to be filled.
        state: the tensors of the checkpoint.
        classes: class of each row in the checkpoint.
    """
    wanted, result, renamed = detector.state_dict(), dict(state), []
    for i, layer in enumerate(detector.spec.layers):
        if layer.module in FROM_PAPERS:
            renamed.append(f"{layer.name} ({classes.get(i, 'unknown class')} as {layer.module})")
        if not _has_attention(layer):
            continue
        missing = {key: tensor for key, tensor in _of_row(wanted, i).items() if key not in state}
        others = {key: tensor for key, tensor in _of_row(state, i).items() if key not in wanted}
        if not missing or _shapes(missing) != _shapes(others):
            continue
        for (key, tensor), other in zip(missing.items(), others, strict=True):
            result[key] = result.pop(other).reshape(tensor.shape)
        renamed.append(f"{layer.name} ({classes.get(i, 'unknown class')} as {layer.module})")
    if renamed:
        what = f"layers of another project, whose tensors were taken in their order: {', '.join(renamed)}"
        warn(f"{what}; compare `regard val` with that project's result")
    return result


def _fitting(layer: LayerSpec, spec: ModelSpec, tensors: Mapping[str, Tensor]) -> LayerSpec:
    if layer.module not in ATTENTION or layer.number > 1:
        return layer
    build: Any = ATTENTION[layer.module]
    channels = spec.info[layer.name].in_channels[0]
    named, found = layer.options, _shapes(tensors)
    if _shapes_of(build, spec.info[layer.name].arguments, {}) == found:
        return layer
    names = [name for name in TRIED if name in build.__init__.__annotations__]
    for values in itertools.product(*(TRIED[name] for name in names)):
        options = dict(zip(names, values, strict=True))
        if names and _shapes_of(build, (channels,), options) == found:
            return replace(layer, args=layer.args[:1], options={**named, **options})
    return layer


def _shapes_of(build: Any, arguments: tuple[Any, ...], options: Mapping[str, int]) -> Shapes | None:
    try:
        with torch.device("meta"):
            return _shapes(build(*arguments, **options).state_dict())
    except RegardError:  # the channels do not suit the option
        return None


def _has_attention(layer: LayerSpec) -> bool:
    return layer.module in (*ATTENTION, *WITH_ATTENTION)


def _of_row(state: Mapping[str, Tensor], row: int) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in state.items() if key.startswith(f"model.{row}.")}


def _shapes(tensors: Mapping[str, Tensor]) -> Shapes:
    """Shapes in order, without sides of 1: a 1 x 1 convolution is a linear layer."""
    return [tuple(side for side in tensor.shape if side > 1) for tensor in tensors.values()]
