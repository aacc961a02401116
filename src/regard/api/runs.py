"""What is done with detectors: evaluation, prediction, export, and what their layers attend to."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from regard.config import (
    IMGSZ,
    DetectSettings,
    ExportSettings,
    ModelSettings,
    PredictSettings,
    Thresholds,
    ValSettings,
    checked,
    detect_settings,
    part_of,
)
from regard.config.keywords import ExportKeywords, PredictKeywords, ValKeywords
from regard.config.signature import accepts
from regard.data.dataset import class_index
from regard.errors import RegardDeprecationWarning, RegardError, warn
from regard.evaluation import Metrics, load_split
from regard.evaluation import validate as run_validation
from regard.graph.detector import Detector
from regard.prediction import predict as run_prediction
from regard.prediction.sources import Reading, Source, check_source, frames, holds_one_image, is_single_image
from regard.runtimes import check_model, open_predictor
from regard.runtimes.base import Session, check_input_size
from regard.runtimes.export import ExportReport, export_detector
from regard.runtimes.table import runtime_to_write
from regard.system.device import choose_device
from regard.system.interrupts import interrupts_deferred
from regard.types import Detections, Predictor
from regard.visualize.attend import Kind, View
from regard.visualize.attend import attend as attend_to_array
from regard.visualize.gradient import Point
from regard.weights.detector import Model, Modules, as_detector
from regard.weights.hub import local_file


@accepts(ValSettings)
@interrupts_deferred()
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

    Returns:
        AP, precision, recall and F1, of all classes and of each; it prints as a table.

    Raises:
        RegardError: an unknown or bad setting, no such split, or model and data have no class in common.

    Example:
        >>> metrics = regard.val(regard.load("odd-one-out-se"), "synthetic:context?train=0&val=4&test=0", imgsz=128)
        >>> 0 <= metrics.ap <= metrics.ap50 <= 1
        True
    """
    asked = checked(ValSettings, settings)
    check_model(model)
    measured_on = load_split(data, asked)
    return run_validation(_opened(model, modules, asked), measured_on, asked)


validate = val


@accepts(PredictSettings)
@interrupts_deferred()
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
        source: a file, folder, glob pattern, ``list.txt`` of files, video or URL; an image in memory: an (H, W, 3) RGB,
            (H, W, 4) RGBA or (H, W) gray array of uint8 or uint16, a PIL image, a torch tensor (C, H, W) of uint8 or
            from 0 to 1, or the bytes of an image file; or a list or generator of those, which is read as it is needed.
            Of several files, those that cannot be read are skipped with a warning.
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
    check_model(model)
    check_source(source, recursive=asked.recursive)
    predictor = _opened(model, modules, asked, parallel=not holds_one_image(source))
    names = list(predictor.names.values())
    chosen = detect_settings(asked, tuple(class_index(name, names) for name in asked.classes))
    reading = Reading(asked.vid_stride, asked.recursive)
    return run_prediction(predictor, source, imgsz=asked.imgsz, settings=chosen, batch=asked.batch, reading=reading)


@accepts(ExportSettings)
@interrupts_deferred()
def export(
    model: Model,
    path: str | Path,
    *,
    image: NDArray[np.uint8] | None = None,
    **settings: Unpack[ExportKeywords],
) -> ExportReport:
    """Write a detector for another runtime and compare the file with PyTorch.

    Args:
        model: what to export, a detector, which is not changed, or what ``load`` takes.
        path: the file (``.onnx``, ``.torchscript``) or the folder (OpenVINO).
        image: (H, W, 3) uint8 RGB to compare on; a drawn scene if not given.
        settings: the fields of ``regard.config.ExportSettings``.

    Returns:
        The files that were written, and their deviation from PyTorch.

    Raises:
        RegardError: a layer cannot be exported, or the file deviates from PyTorch; nothing is written then. Or settings
            contradict each other.

    Example:
        >>> report = regard.export(regard.load("odd-one-out"), "detector.torchscript", imgsz=64)
        >>> report.format, max(deviation.relative for deviation in report.deviations) < report.tolerance
        ('torchscript', True)
    """
    given = dict(settings)
    if isinstance(former := given.pop("settings", None), DetectSettings):
        warn("settings=DetectSettings(...) is now conf=..., iou=...", RegardDeprecationWarning)
        given = former.model_dump(exclude_unset=True) | given
    asked = checked(ExportSettings, given)
    _reject_idle(asked, Path(path))
    model = as_detector(model)
    inside = detect_settings(asked, tuple(class_index(c, list(model.names.values())) for c in asked.classes))
    own = asked.model_dump(include={"format", "imgsz", "static", "nms", "opset", "tolerance"})
    return export_detector(model, path, image=image, settings=inside, **own)


@interrupts_deferred()
def attend(
    model: Model,
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
        model: a detector, whose mode and weights do not change, or what ``load`` takes; it runs in evaluation mode.
        image: an image file, a URL, or an (H, W, 3) uint8 RGB array.
        layer: name or index of the layer; for a "map" an attention layer.
        query: x, y in pixels of the original image. For a "map" the position whose weights are shown, the centre if
            None; for "gradient" a point on or near the detection to explain, the best detection if None.
        kind: "map" for the weights of an attention layer; "gradient" for how a detection's score depends on any layer.
        of_class: for "gradient", consider only detections of this class, given by name or index.
        imgsz: size in pixels to which the long side of the image is scaled.

    Returns:
        The weights or the gradient map with the image; ``save(path)`` draws them.

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
        next(frames(image), None)  # raises an error if there is no such file
        raise RegardError(f"{image!r} is not a single image", expected="an image file, a URL or an (H, W, 3) array")
    pixels = next(frames(image)).image
    model = as_detector(model)
    return attend_to_array(model, pixels, layer=layer, query=query, kind=kind, of_class=of_class, imgsz=imgsz)


def _reject_idle(asked: ExportSettings, path: Path) -> None:
    """Reject settings that were given and would have no effect."""
    idle = [name for name in (*Thresholds.model_fields, "classes") if name in asked.model_fields_set]
    if idle and not asked.nms:
        what = f"without NMS in the file {', '.join(idle)} would have no effect"
        raise RegardError(what, hint="add --nms (in Python: nms=True), or give them to predict")
    runtime = runtime_to_write(path, asked.format)
    if "opset" in asked.model_fields_set and not runtime.uses_onnx:
        raise RegardError(f"opset has no effect on the format {runtime.format}", hint="leave it out")
    if asked.static and not runtime.uses_onnx:
        raise RegardError(f"static has no effect on the format {runtime.format}", hint="leave it out")
    if asked.static and asked.nms:
        what = "NMS gives any number of detections, which a file of fixed sizes cannot"
        raise RegardError(what, hint="leave out --static or --nms (in Python: static=, nms=)")


def _opened(
    model: Predictor | str | Path, modules: Modules | None, settings: ModelSettings, *, parallel: bool = False
) -> Predictor:
    """Open a file; a predictor is used as it is, but a detector is moved to a device that was given."""
    if isinstance(model, Predictor):
        idle = settings.model_fields_set & {"device", "backend", "precision", "calibration", "trust"}
        if isinstance(model, Detector) and "device" in idle:
            model.to(choose_device(settings.device))
            idle.remove("device")
        if settings.nms is not None:
            if not isinstance(model, Detector | Session):
                raise RegardError(f"nms has no effect on a {type(model).__name__}", hint="leave it out")
            model = model.with_nms(settings.nms)
        check_input_size(model, settings)
        if idle:
            what = f"{', '.join(sorted(idle))} would have no effect on a model that is already open"
            raise RegardError(what, hint="leave it out, or give the model's file or name")
        return model
    if not isinstance(model, str | Path):
        raise RegardError(f"the model is {model!r:.200}", expected="a detector, or a file or name to open")
    opened = open_predictor(local_file(model), modules=modules, parallel=parallel, **part_of(settings, ModelSettings))
    check_input_size(opened, settings)
    return opened
