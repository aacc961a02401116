"""The public functions of `regard`: loading and editing detectors, training, evaluation, prediction and export."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray
from torch import nn

from regard.config import (
    IMGSZ,
    DetectSettings,
    ExportSettings,
    ModelSettings,
    PredictSettings,
    TrainSettings,
    ValSettings,
    checked,
    detect_settings,
    part_of,
)
from regard.config.keywords import ExportKeywords, PredictKeywords, TrainKeywords, ValKeywords
from regard.config.signature import accepts
from regard.data.dataset import class_index
from regard.data.formats import load_data
from regard.errors import RegardError
from regard.evaluation import Metrics
from regard.evaluation import validate as run_validation
from regard.graph import edit
from regard.graph.detector import Detector
from regard.graph.spec import ModelSpec
from regard.nn.table import graph_name
from regard.prediction import predict as run_prediction
from regard.prediction.sources import Source, frames, holds_one_image, is_single_image
from regard.profiling.report import cost as cost
from regard.runtimes import open_predictor
from regard.runtimes.export import ExportReport, export_detector
from regard.system.files import increment_path
from regard.training.callbacks import Callback as Callback
from regard.training.run import Run, resume_training, run_training
from regard.types import Detections, Predictor
from regard.visualize.attend import Kind, View
from regard.visualize.attend import attend as attend_to_array
from regard.visualize.gradient import Point
from regard.weights.detector import load_detector, load_matching, rebuild, save_detector

Modules = Mapping[str, type[nn.Module]]


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
            an overlay, a run folder, or a name such as ``yolov5n`` from the model zoo. Nothing is downloaded, and no
            code in the file is executed.
        modules: your own layers that the model needs, by the name that its graph uses.
        weights: another file from which all matching tensors are loaded into the graph of ``source``.
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
    detector = load_detector(source, modules=modules, allow_miswired=allow_miswired)
    return load_matching(detector, load_detector(weights, modules=modules))[0] if weights else detector


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
    """Add a layer after an existing one, in a copy of the detector, and keep all weights.

    The new layer reads the layer ``after`` and replaces it for all its readers; all other references keep their layer.
    With the gate, which is closed at the start, the outputs of the new detector are bit for bit those of the old one.

    Args:
        model: the detector; it is not changed.
        module: a name from ``regard.nn.attention.ATTENTION``, the name of another layer, or your own class.
        after: name or index of the layer that the new one reads.
        options: arguments of the module by name.
        gate: put the layer behind a gate, y = x + gamma (module(x) - x); the module must keep the shape.
        name: name of the new layer; by default ``<after>.<module>`` in lower case.
        readers: names of the readers of ``after`` that read the new layer; by default all.

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
    word, modules = graph_name(module)
    spec = edit.insert(model.spec, word, after=after, options=options, gate=gate, name=name, readers=readers)
    return _rebuilt(model, spec, modules)


def replace(
    model: Detector,
    layer: str | int,
    module: str | type[nn.Module],
    *,
    options: Mapping[str, Any] | None = None,
) -> Detector:
    """Exchange the module of a layer, in a copy of the detector.

    Tensors of equal name and shape are kept; the other tensors of the layer are newly initialised.

    Args:
        model: the detector; it is not changed.
        layer: name or index of the layer.
        module: name of a layer class, or your own class.
        options: arguments of the module by name; by default those of the old layer.

    Raises:
        RegardError: there is no such layer, module or option, or the module does not fit.

    Example:
        >>> model = regard.replace(regard.load("odd-one-out"), "p4", "C3TR")
        >>> type(model.layer("p4")).__name__
        'C3TR'
    """
    word, modules = graph_name(module)
    return _rebuilt(model, edit.replace_layer(model.spec, layer, word, options=options), modules)


def remove(model: Detector, layer: str | int) -> Detector:
    """Delete a layer, in a copy of the detector; its readers read its input instead.

    Raises:
        RegardError: there is no such layer, or it is the detection head or has several inputs.

    Example:
        >>> model = regard.insert(regard.load("odd-one-out"), "SE", after="p4")
        >>> len(regard.remove(model, "p4.se").model) == len(model.model) - 1
        True
    """
    return _rebuilt(model, edit.remove(model.spec, layer), {})


@accepts(TrainSettings)
def train(
    model: Detector,
    data: str | Path,
    *,
    folder: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    verbose: bool = True,
    **settings: Unpack[TrainKeywords],
) -> Run:
    """Train a copy of ``model`` and load the weights of its best epoch.

    The class names come from the data; where they differ from the model's, the head is replaced, and its tensors for
    boxes, objectness and classes of equal name are kept.

    Example:
        >>> model, data = regard.load("odd-one-out"), "synthetic:context?train=8&val=4&test=0"
        >>> run = regard.train(model, data, epochs=1, imgsz=64, workers=0, plots=False, verbose=False)
        >>> run.metrics.images
        4

    Args:
        model: where to start from; unchanged.
        data: a YOLO ``data.yaml`` or its folder, a COCO JSON, a Pascal VOC folder, or ``synthetic:context``.
        folder: folder of the run; the first free one of ``runs/train``, ``runs/train-2``, ... if not given.
        callbacks: see `regard.Callback`; they are called after those that write the folder and print the progress.
        verbose: print the progress.
        settings: the fields of ``regard.config.TrainSettings``.

    Raises:
        RegardError: an unknown or bad setting, or data or hardware that do not allow it.
    """
    asked = checked(TrainSettings, settings)
    loaded = load_data(data, single_cls=asked.single_cls, classes=asked.classes)
    place = Path(folder) if folder else increment_path(Path("runs"), "train")
    return run_training(model, loaded, asked, place, callbacks=callbacks, verbose=verbose)


def resume(
    folder: str | Path,
    *,
    modules: Modules | None = None,
    callbacks: Sequence[Callback] = (),
    verbose: bool = True,
) -> Run:
    """Continue a run exactly where its last finished epoch left it.

    Args:
        folder: folder of the run.
        modules: your own layers that the model needs.
        callbacks: as for ``train``; those of the earlier process are not restored.
        verbose: print the progress.

    Raises:
        RegardError: there is no run in ``folder``.

    Example:
        >>> model, data = regard.load("odd-one-out"), "synthetic:context?train=8&val=4&test=0"
        >>> settings = {"epochs": 1, "imgsz": 64, "workers": 0, "plots": False}
        >>> run = regard.train(model, data, folder="runs/first", verbose=False, **settings)
        >>> regard.resume("runs/first", verbose=False).metrics.images
        4
    """
    return resume_training(Path(folder), modules=modules, callbacks=callbacks, verbose=verbose)


@accepts(ValSettings)
def val(
    model: Predictor | str | Path,
    data: str | Path,
    *,
    modules: Modules | None = None,
    **settings: Unpack[ValKeywords],
) -> Metrics:
    """Measure a detector on labelled images by the COCO protocol. ``regard.validate`` is the same function.

    Args:
        model: a detector, or a file with one: weights, or an exported file.
        data: as for ``train``.
        modules: your own layers that the model needs.
        settings: the fields of ``regard.config.ValSettings``.

    Raises:
        RegardError: an unknown or bad setting, no such split, or model and data have no class in common.

    Example:
        >>> metrics = regard.val(regard.load("odd-one-out-se"), "synthetic:context?train=0&val=4&test=0", imgsz=128)
        >>> 0 <= metrics.ap <= metrics.ap50 <= 1
        True
    """
    asked = checked(ValSettings, settings)
    return run_validation(_opened(model, modules, asked), data, asked)


validate = val


@accepts(PredictSettings)
def predict(
    model: Predictor | str | Path,
    source: Source,
    *,
    modules: Modules | None = None,
    **settings: Unpack[PredictKeywords],
) -> Detections | list[Detections]:
    """Detect objects in images.

    Args:
        model: a detector, or a file with one: weights, or an exported file.
        source: a file, folder, glob pattern, video or URL, an (H, W, 3) uint8 RGB array, or a sequence of those.
        modules: your own layers that the model needs.
        settings: the fields of ``regard.config.PredictSettings``.

    Returns:
        ``Detections`` for one image, a list of them for anything else.

    Raises:
        RegardError: an unknown or bad setting, or a model or source that cannot be read.

    Example:
        >>> import numpy as np
        >>> found = regard.predict(regard.load("odd-one-out"), np.zeros((90, 120, 3), np.uint8), imgsz=128)
        >>> found.boxes_xyxy.shape[1], found.image_size
        (4, (90, 120))
    """
    asked = checked(PredictSettings, settings)
    predictor = _opened(model, modules, asked, parallel=not holds_one_image(source))
    names = list(predictor.names.values())
    chosen = detect_settings(asked, tuple(class_index(name, names) for name in asked.classes))
    return run_prediction(predictor, source, imgsz=asked.imgsz, settings=chosen, batch=asked.batch)


@accepts(ExportSettings)
def export(
    model: Detector,
    path: str | Path,
    *,
    image: NDArray[np.uint8] | None = None,
    **settings: Unpack[ExportKeywords],
) -> ExportReport:
    """Write a detector for another runtime and compare the file with PyTorch.

    Args:
        model: what to export; unchanged.
        path: the file (``.onnx``, ``.torchscript``) or the folder (OpenVINO).
        image: (H, W, 3) uint8 RGB to compare on; a drawn scene if not given.
        settings: the fields of ``regard.config.ExportSettings``.

    Raises:
        RegardError: a layer cannot be exported, or the file deviates from PyTorch; nothing is written then.

    Example:
        >>> report = regard.export(regard.load("odd-one-out"), "detector.torchscript", imgsz=64)
        >>> report.format, max(deviation.relative for deviation in report.deviations) < report.tolerance
        ('torchscript', True)
    """
    given = dict(settings)
    if isinstance(former := given.pop("settings", None), DetectSettings):
        warnings.warn("settings=DetectSettings(...) is now conf=..., iou=...", DeprecationWarning, stacklevel=2)
        given = former.model_dump() | given
    asked = checked(ExportSettings, given)
    inside = detect_settings(asked, tuple(class_index(c, list(model.names.values())) for c in asked.classes))
    own = asked.model_dump(include={"format", "imgsz", "nms", "opset", "tolerance"})
    return export_detector(model, path, image=image, settings=inside, **own)


def attend(
    model: Detector,
    image: Source,
    *,
    layer: str | int,
    query: Point | None = None,
    kind: Kind = "map",
    of_class: str | int | None = None,
    imgsz: int = IMGSZ,
) -> View:
    """Run the detector on one image and record what ``layer`` attends to.

    Args:
        model: the detector; it runs in evaluation mode, its mode and weights do not change.
        image: an image file, a URL, or an (H, W, 3) uint8 RGB array.
        layer: name or index of the layer; for a "map" an attention layer.
        query: x, y in pixels of the original image. For a "map" the position whose weights are shown, the centre if
            None; for "gradient" a point on or near the detection to explain, the best detection if None.
        kind: "map" for the weights of an attention layer; "gradient" for how a detection's score depends on any layer.
        of_class: for "gradient", consider only detections of this class, given by name or index.
        imgsz: size in pixels to which the long side of the image is scaled.

    Raises:
        RegardError: no such image, layer or class, a layer without attention, or a query outside the image.

    Example:
        >>> import numpy as np
        >>> model = regard.insert(regard.load("odd-one-out"), "SE", after="p3")
        >>> view = regard.attend(model, np.zeros((96, 128, 3), np.uint8), layer="p3.se", imgsz=128)
        >>> view.map.kind, tuple(view.map.weights.shape)
        ('channel', (1, 64))
    """
    if not is_single_image(image):
        next(frames(image), None)  # raises an error of its own if there is no such file
        raise RegardError(f"{image!r} is not a single image", expected="an image file, a URL or an (H, W, 3) array")
    pixels = next(frames(image)).image
    return attend_to_array(model, pixels, layer=layer, query=query, kind=kind, of_class=of_class, imgsz=imgsz)


def save(model: Detector, path: str | Path) -> None:
    """Write a detector as one ``.safetensors`` file with its graph, class names and anchors.

    Raises:
        RegardError: the file cannot be written.

    Example:
        >>> regard.save(regard.load("odd-one-out"), "detector.safetensors")
        >>> regard.load("detector.safetensors").nc
        2
    """
    save_detector(Path(path), model)


def _rebuilt(model: Detector, spec: ModelSpec, modules: Modules) -> Detector:
    new, _ = rebuild(model, spec, modules=modules)
    return new.train(model.training)


def _opened(
    model: Predictor | str | Path, modules: Modules | None, settings: ModelSettings, *, parallel: bool = False
) -> Predictor:
    """Open a file; anything else is used as it is."""
    if not isinstance(model, str | Path):
        return model
    return open_predictor(model, modules=modules, parallel=parallel, **part_of(settings, ModelSettings))
