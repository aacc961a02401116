"""Commands that use a trained detector: val, predict, export."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from regard.cli.options import (
    Agnostic,
    BackendName,
    Calibration,
    Conf,
    Data,
    Device,
    ImageSize,
    Iou,
    MaxDet,
    Model,
    Module,
    Precision,
    Weights,
    class_list,
    load_model,
    open_model,
)
from regard.errors import RegardError, nearest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from regard.prediction import Frame
    from regard.types import Detections

Classes = Annotated[
    str | None, typer.Option(help="Only these classes: names or numbers, as person,car or 0,2.", show_default=False)
]


def val(
    model: Model,
    data: Data,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "val",
    imgsz: ImageSize = 640,
    batch: Annotated[int, typer.Option(help="Images at once; 1 pads least.")] = 16,
    conf: Conf = 0.001,
    iou: Iou = 0.6,
    max_det: MaxDet = 300,
    agnostic_nms: Agnostic = False,
    single_cls: Annotated[bool, typer.Option("--single-cls", help="Count all objects as of one class.")] = False,
    classes: Classes = None,
    rect: Annotated[bool, typer.Option(help="Pad each batch only as needed.")] = True,
    save_json: Annotated[
        Path | None, typer.Option(help="Also write detections in COCO's results format there.", show_default=False)
    ] = None,
    plots: Annotated[
        Path | None, typer.Option(help="Also draw PR and F1 curves and the confusion matrix there.", show_default=False)
    ] = None,
    format: Annotated[Literal["text", "json"], typer.Option(help="How to print the result.")] = "text",
    workers: Annotated[int, typer.Option(min=0, help="Threads that read images beside the one that looks ahead.")] = 0,
    device: Device = "auto",
    backend: BackendName = "auto",
    precision: Precision = "float32",
    calibration: Calibration = None,
    module: Module = None,
) -> None:
    """Measure a detector, or an exported file, on labelled images by the COCO protocol."""
    import json

    from rich.console import Console

    from regard.inference.validate import validate

    finder = open_model(
        model,
        module,
        device=device,
        backend=backend,
        precision=precision,
        calibration=calibration,
        imgsz=imgsz,
    )
    metrics = validate(
        finder,
        data,
        split=split,
        imgsz=imgsz,
        batch=batch,
        workers=workers,
        rect=rect,
        single_cls=single_cls,
        classes=class_list(classes),
        save_json=save_json,
        conf=conf,
        iou=iou,
        max_det=max_det,
        agnostic_nms=agnostic_nms or single_cls,
    )
    if plots:
        from regard.training.pictures import Pictures

        Pictures(plots, [entry.name for entry in metrics.per_class]).metrics(metrics)
    if format == "json":
        print(json.dumps(metrics.to_dict(), indent=2))
    else:
        Console().print(metrics)


def predict(
    model: Model,
    source: Annotated[list[str], typer.Argument(help="Images, folders, globs, videos or URLs.")],
    imgsz: ImageSize = 640,
    conf: Conf = 0.25,
    iou: Iou = 0.45,
    max_det: MaxDet = 1000,
    agnostic_nms: Agnostic = False,
    classes: Classes = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder for the results; runs/predict where not given.", show_default=False
        ),
    ] = None,
    pictures: Annotated[bool, typer.Option(help="Save pictures with the boxes drawn.")] = True,
    save_txt: Annotated[bool, typer.Option("--save-txt", help="Save YOLO txt files.")] = False,
    save_conf: Annotated[
        bool, typer.Option("--save-conf", help="With --save-txt: end each row with the score.")
    ] = False,
    tables: Annotated[bool, typer.Option(help="Save detections.json and detections.csv.")] = True,
    batch: Annotated[int, typer.Option(help="Images of equal size at once.")] = 1,
    device: Device = "auto",
    backend: BackendName = "auto",
    precision: Precision = "float32",
    calibration: Calibration = None,
    module: Module = None,
) -> None:
    """Detect in images, folders, videos or URLs, and save what is found."""
    from regard.config import DetectSettings, checked
    from regard.folders import next_folder
    from regard.inference import warn_of_suppression
    from regard.prediction import predict_iter, save_detections

    asked = {"conf": conf, "iou": iou, "max_det": max_det, "agnostic_nms": agnostic_nms}
    settings = checked(DetectSettings, asked)
    finder = open_model(
        model,
        module,
        device=device,
        backend=backend,
        precision=precision,
        calibration=calibration,
        imgsz=imgsz,
    )
    kept = _class_ids(class_list(classes), list(finder.names.values()))
    settings = settings.model_copy(update={"classes": kept})
    warn_of_suppression(finder, settings)
    stream = predict_iter(finder, source, imgsz=imgsz, settings=settings, batch=batch)
    folder = output or next_folder(Path("runs"), "predict")
    written = save_detections(
        _told(stream), folder, pictures=pictures, txt=save_txt or save_conf, txt_conf=save_conf, tables=tables
    )
    print(f"{len(written)} files in {folder}")


def export(
    model: Model,
    format: Annotated[Literal["onnx", "openvino", "torchscript"], typer.Option(help="What to write.")] = "onnx",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="File (a folder for openvino); beside the model where not given.", show_default=False
        ),
    ] = None,
    imgsz: ImageSize = 640,
    nms: Annotated[bool, typer.Option("--nms", help="Put non-maximum suppression inside.")] = False,
    conf: Conf = 0.25,
    iou: Iou = 0.45,
    max_det: MaxDet = 1000,
    opset: Annotated[int, typer.Option(help="Version of ONNX's operators.")] = 18,
    image: Annotated[
        Path | None,
        typer.Option(help="Image to compare with PyTorch on; a drawn scene where not given.", show_default=False),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Or: compare on the first image of this data set.", show_default=False)
    ] = None,
    weights: Weights = None,
    module: Module = None,
) -> None:
    """Export to ONNX, OpenVINO or TorchScript with dynamic batch and size, and compare the file with PyTorch."""
    from rich.console import Console

    from regard.config import DetectSettings, checked
    from regard.exporting import export_detector

    settings = checked(DetectSettings, {"conf": conf, "iou": iou, "max_det": max_det})
    picture = _example(image, data)
    report = export_detector(
        load_model(model, modules=module, weights=weights),
        output or _beside(Path(model), format),
        format=format,
        imgsz=imgsz,
        nms=nms,
        settings=settings,
        opset=opset,
        image=picture,
    )
    Console().print(report)


def _beside(model: Path, form: str) -> Path:
    """Return where an export goes when nobody says: beside the weights, in a run's folder, or here for a zoo model."""
    stem = model / "best" if model.is_dir() else model.with_suffix("") if model.is_file() else Path(model.name)
    return stem.with_name(stem.name + {"onnx": ".onnx", "openvino": "_openvino", "torchscript": ".torchscript"}[form])


def _example(image: Path | None, data: str | None) -> NDArray[np.uint8] | None:
    """Return the image to compare on, if any was named."""
    from regard.data.formats import load_data
    from regard.data.images import ImageFile

    if image is not None:
        return ImageFile(image).read()
    if data is None:
        return None
    splits = load_data(data).splits
    records = next((splits[name] for name in ("val", "test", "train") if splits.get(name)), ())
    if not records:
        raise RegardError("the data set has no images", file=data)
    return records[0].image.read()


def _told(stream: Iterable[tuple[Frame, Detections]]) -> Iterator[tuple[Frame, Detections]]:
    """Print a line for each frame as it passes."""
    for frame, found in stream:
        counts: dict[str, int] = {}
        for class_id in found.class_ids:
            name = found.names[int(class_id)]
            counts[name] = counts.get(name, 0) + 1
        told = ", ".join(f"{n} {name}" for name, n in counts.items()) or "nothing"
        print(f"{frame.source}: {told}")
        yield frame, found


def _class_ids(wanted: tuple[str, ...], names: list[str]) -> tuple[int, ...]:
    """Return classes given by name or number as numbers.

    Raises:
        RegardError: no such class; the nearest is suggested.
    """
    for name in wanted:
        if name not in names and not (name.isdigit() and int(name) < len(names)):
            raise RegardError(
                f"the detector has no class {name!r}",
                expected=f"a name, or 0 to {len(names) - 1}",
                hint=nearest(name, names),
            )
    return tuple(names.index(name) if name in names else int(name) for name in wanted)
