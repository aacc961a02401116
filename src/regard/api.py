"""What users call from Python: a dozen functions over the rooms below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from regard.graph import edit
from regard.graph.detector import Detector
from regard.graph.spec import ModelSpec
from regard.weights.detector import load_detector, rebuild, save_detector

Modules = Mapping[str, type[nn.Module]]


def load(source: str | Path, modules: Modules | None = None, *, allow_miswired: bool = False) -> Detector:
    """Load a detector.

    Args:
        source: a YOLOv5 ``.pt``, a ``.safetensors`` of this project, a model YAML (YOLOv5's or native), an overlay, a
            run folder, or a name such as ``yolov5n`` from the zoo. Nothing is downloaded and nothing in it is run.
        modules: your own layers that the model needs, by the name that its graph uses.
        allow_miswired: warn of what looks mis-wired instead of refusing it.

    Returns:
        The detector in evaluation mode; with fresh weights where ``source`` holds only a graph.

    Raises:
        RegardError: not found, damaged, of another kind, mis-wired, or in need of a module that was not given.
    """
    return load_detector(source, modules=modules, allow_miswired=allow_miswired)


def insert(
    model: Detector,
    module: str | type[nn.Module],
    *,
    after: str | int,
    options: Mapping[str, Any] | None = None,
    gate: bool = True,
    name: str | None = None,
    readers: Sequence[str] | None = None,
) -> Detector:
    """Return a new detector with a layer that stands in for the layer ``after``; ``model`` is unchanged.

    Every reader of ``after`` reads the new layer, all other references keep their layer, every tensor is kept. With
    the gate, which is closed at the start, the new detector's outputs equal the old one's bit for bit.

    Args:
        model: where to insert.
        module: a name from ``regard.nn.attention.ATTENTION`` or of another layer, or your own class.
        after: name or index of the layer that the new one follows.
        options: arguments of the module by name.
        gate: put the layer behind a gate, y = x + gamma (module(x) - x); needs a module that keeps the shape.
        name: name of the new layer; ``<after>.<module>`` where not given.
        readers: only these readers of ``after`` read the new layer.

    Raises:
        RegardError: no such layer, module or option, or a module that does not fit.
    """
    word, modules = _named(module)
    spec = edit.insert(model.spec, word, after=after, options=options, gate=gate, name=name, readers=readers)
    return _rebuilt(model, spec, modules)


def replace(
    model: Detector,
    layer: str | int,
    module: str | type[nn.Module],
    *,
    options: Mapping[str, Any] | None = None,
) -> Detector:
    """Return a new detector with another module in the place of ``layer``; ``model`` is unchanged.

    Tensors of equal name and shape are kept, the rest of the layer starts anew.

    Args:
        model: where to replace.
        layer: name or index of the layer.
        module: a layer's name, or your own class.
        options: its arguments by name; without any, those of the old layer.

    Raises:
        RegardError: no such layer, module or option, or a module that does not fit.
    """
    word, modules = _named(module)
    return _rebuilt(model, edit.replace_layer(model.spec, layer, word, options=options), modules)


def remove(model: Detector, layer: str | int) -> Detector:
    """Return a new detector without ``layer``, whose readers read what it read; ``model`` is unchanged.

    Raises:
        RegardError: no such layer, or one that cannot be spared.
    """
    return _rebuilt(model, edit.remove(model.spec, layer), {})


def save(model: Detector, path: str | Path) -> None:
    """Write ``model`` as one ``.safetensors`` with its graph, class names and anchors.

    Raises:
        RegardError: the file cannot be written.
    """
    save_detector(Path(path), model)


def _named(module: str | type[nn.Module]) -> tuple[str, dict[str, type[nn.Module]]]:
    return (module, {}) if isinstance(module, str) else (module.__name__, {module.__name__: module})


def _rebuilt(model: Detector, spec: ModelSpec, modules: Modules) -> Detector:
    new, _ = rebuild(model, spec, modules=modules)
    return new.train(model.training)
