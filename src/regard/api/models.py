"""Detectors: loaded, edited, saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from regard.graph import edit
from regard.graph.detector import Detector
from regard.graph.spec import ModelSpec
from regard.nn.table import graph_name
from regard.system.interrupts import interrupts_deferred
from regard.weights.convert import Converted
from regard.weights.convert import convert as convert_detector
from regard.weights.detector import (
    Model,
    Modules,
    as_detector,
    load_from_anywhere,
    rebuild,
    save_detector,
    with_weights,
)
from regard.weights.hub import local_file


@interrupts_deferred()
def load(
    source: str | Path,
    modules: Modules | None = None,
    *,
    weights: str | Path | None = None,
    allow_miswired: bool = False,
) -> Detector:
    """Load a detector.

    Args:
        source: a YOLOv5 ``.pt``, a ``.safetensors`` file of this package, a model YAML (YOLOv5's or the native form),
            an overlay, a run folder, or a name such as ``yolov5n`` from the model zoo. No code in the file is executed,
            and nothing is downloaded but a file that is named as ``hf://owner/name/file`` on the Hugging Face Hub.
        modules: your own layers that the model needs, by the name that its graph uses.
        weights: another file from which all matching tensors are loaded into the graph of ``source``: a detector's, or
            those of the network of timm that is its backbone.
        allow_miswired: warn of wiring errors in the graph instead of raising an error.

    Returns:
        The detector in evaluation mode; its weights are newly initialised if ``source`` contains only a graph.

    Raises:
        RegardError: the file is not found, damaged or of another kind, the graph has wiring errors, or the model needs
            a module that was not given.

    Example:
        >>> model = regard.load("odd-one-out")
        >>> model.nc, model.strides
        (2, (16,))
    """
    detector = load_from_anywhere(source, modules=modules, allow_miswired=allow_miswired)
    if not weights:
        return detector
    return with_weights(detector, local_file(weights), modules)[0]


@interrupts_deferred()
def insert(
    model: Model,
    module: str | type[nn.Module],
    *,
    after: str | int,
    options: Mapping[str, Any] | None = None,
    gate: bool = True,
    name: str | None = None,
    readers: Sequence[str] | None = None,
) -> Detector:
    """Add a layer after an existing one, in a copy of the detector, and keep all weights.

    The new layer reads the layer ``after`` and replaces it for all its readers; all other references keep their layer.
    With the gate, which is closed at the start, the outputs of the new detector are bit for bit those of the old one.

    Args:
        model: the detector, which is not changed, or what ``load`` takes.
        module: a name from ``regard.nn.attention.ATTENTION``, the name of another layer, or your own class.
        after: name or index of the layer that the new one reads.
        options: arguments of the module by name.
        gate: put the layer behind a gate, y = x + gamma (module(x) - x); the module must keep the shape.
        name: name of the new layer; by default ``<after>.<module>`` in lower case.
        readers: names of the readers of ``after`` that read the new layer; by default all.

    Returns:
        The new detector, in the mode of the old one; ``summary()`` gives its table.

    Raises:
        RegardError: there is no such layer, module or option, or the module does not fit.

    Example:
        >>> model = regard.load("odd-one-out")
        >>> with_se = regard.insert(model, "SE", after="p4")
        >>> import torch
        >>> image = torch.rand(1, 3, 64, 64)
        >>> torch.equal(with_se(image).boxes, model(image).boxes)
        True
    """
    model = as_detector(model)
    word, modules = graph_name(module)
    spec = edit.insert(model.spec, word, after=after, options=options, gate=gate, name=name, readers=readers)
    return rebuilt(model, spec, modules)


@interrupts_deferred()
def replace(
    model: Model,
    layer: str | int,
    module: str | type[nn.Module],
    *,
    options: Mapping[str, Any] | None = None,
) -> Detector:
    """Exchange the module of a layer, in a copy of the detector.

    Tensors of equal name and shape are kept; the other tensors of the layer are newly initialised.

    Args:
        model: the detector, which is not changed, or what ``load`` takes.
        layer: name or index of the layer.
        module: name of a layer class, or your own class.
        options: arguments of the module by name; by default those of the old layer that it has under the same name.

    Returns:
        The new detector, in the mode of the old one.

    Raises:
        RegardError: there is no such layer, module or option, or the module does not fit.

    Example:
        >>> model = regard.replace(regard.load("odd-one-out"), "p4", "C3TR")
        >>> type(model.layer("p4")).__name__
        'C3TR'
    """
    model = as_detector(model)
    word, modules = graph_name(module)
    return rebuilt(model, edit.replace_layer(model.spec, layer, word, options=options, modules=modules), modules)


@interrupts_deferred()
def remove(model: Model, layer: str | int) -> Detector:
    """Delete a layer, in a copy of the detector; its readers read its input instead.

    Args:
        model: the detector, which is not changed, or what ``load`` takes.
        layer: name or index of the layer.

    Returns:
        The new detector, in the mode of the old one.

    Raises:
        RegardError: there is no such layer, or it is the detection head or has several inputs.

    Example:
        >>> model = regard.insert(regard.load("odd-one-out"), "SE", after="p4")
        >>> len(regard.remove(model, "p4.se").model) == len(model.model) - 1
        True
    """
    model = as_detector(model)
    return rebuilt(model, edit.remove(model.spec, layer), {})


@interrupts_deferred()
def save(model: Model, path: str | Path) -> None:
    """Write a detector as one ``.safetensors`` file with its graph, class names and anchors.

    Args:
        model: the detector, or what ``load`` takes.
        path: the file, which ``load`` reads again; an existing one is replaced.

    Raises:
        RegardError: the file cannot be written.

    Example:
        >>> regard.save(regard.load("odd-one-out"), "detector.safetensors")
        >>> regard.load("detector.safetensors").nc
        2
    """
    save_detector(Path(path), as_detector(model))


@interrupts_deferred()
def convert(model: Model, path: str | Path, *, to: str = "native") -> Converted:
    """Write a detector for another package, or an old file in the present form.

    Args:
        model: the detector, or what ``load`` takes.
        path: a ``.safetensors`` file, or a folder for ``model.safetensors``; the graph is written next to it as YAML.
            In the native form a ``.safetensors``, or a ``.yaml`` for the graph alone.
        to: ``ultralytics``, ``yolov5`` or ``native``.

    Returns:
        The files, and the classes that the other package must be given.

    Raises:
        RegardError: the other package cannot build the graph, whatever classes it is given.

    Example:
        >>> converted = regard.convert(regard.insert("yolov8n", "SE", after="sppf"), "theirs", to="ultralytics")
        >>> [file.name for file in converted.files], converted.classes
        (['model.yaml', 'model.safetensors'], {'GatedSE': ('sppf.se',)})
    """
    return convert_detector(as_detector(model), to, Path(path))


def rebuilt(model: Detector, spec: ModelSpec, modules: Modules, *, share: bool = False) -> Detector:
    """Build an edited graph with the weights of a detector and in its mode; see `regard.weights.detector.rebuild`."""
    new, _ = rebuild(model, spec, modules=modules, share=share)
    return new.train(model.training)
