"""Commands that use a trained detector: val, predict, export."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from regard.cli.from_settings import Given, with_settings
from regard.cli.options import Data, Model, Module, Runnable, Weights, load_model, modules_of
from regard.config import (
    ExportSettings,
    ModelSettings,
    PredictSettings,
    SaveSettings,
    ValSettings,
    checked,
    detect_settings,
    part_of,
)
from regard.errors import RegardError
from regard.system.files import check_folder, claim_folder, is_file, is_folder, reject_other
from regard.system.terminal import printable_line
from regard.system.translation import translate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from regard.prediction import Frame
    from regard.types import Detections, Predictor


@with_settings(settings=ValSettings)
def val(
    *,
    model: Runnable,
    data: Data,
    settings: Given,
    plots: Annotated[
        Path | None, typer.Option(help="Draw PR and F1 curves and the confusion matrix in this folder.")
    ] = None,
    format: Annotated[Literal["text", "json"], typer.Option(help="Format in which the result is printed.")] = "text",
    module: Module = None,
) -> None:
    """Measure a detector, or an exported file, on labelled images by the COCO protocol."""
    import json

    from regard.cli.screen import show
    from regard.evaluation import load_split, validate
    from regard.runtimes import check_model

    asked = checked(ValSettings, settings)
    if plots:
        from regard.visualize.plots import MARK, METRIC_PLOTS

        check_folder(plots)
        for name in METRIC_PLOTS:
            reject_other(plots / name, mark=MARK, hint="give another folder with --plots")
    check_model(model)
    measured_on = load_split(data, asked)
    metrics = validate(_opened(model, module, asked), measured_on, asked)
    if plots:
        from regard.visualize.plots import plot_metrics

        with claim_folder(plots):
            plot_metrics(metrics, plots)
    if format == "json":
        print(json.dumps(metrics.to_dict(), indent=2))
    else:
        show(metrics)


@with_settings(settings=PredictSettings, saving=SaveSettings)
def predict(
    *,
    model: Runnable,
    source: Annotated[
        list[str] | None,
        typer.Argument(
            help="Images, folders, glob patterns, videos, list.txt, URLs, 0 (camera) or rtsp://...", show_default=False
        ),
    ] = None,
    settings: Given,
    named: Annotated[
        list[str] | None, typer.Option("--source", help="The same as SOURCE, as YOLOv5 writes it.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for the results; runs/predict if not given.", show_default=False),
    ] = None,
    saving: Given,
    module: Module = None,
) -> None:
    """Detect objects in images, folders, videos or URLs, and save the results.

    Files that cannot be read are skipped with the reason; the exit code then is 1.
    """
    from regard.data.dataset import class_index
    from regard.prediction import Reading, holds_one_image, predict_iter, save_detections
    from regard.prediction.sources import check_source, warn_of_skipped
    from regard.runtimes import check_model

    asked, files = checked(PredictSettings, settings), checked(SaveSettings, saving)
    source = _sources(source, named)
    _check_output(output, source if files.save_images else [])
    check_model(model)
    check_source(source, recursive=asked.recursive)
    predictor = _opened(model, module, asked, parallel=not holds_one_image(source))
    names = list(predictor.names.values())
    chosen = detect_settings(asked, tuple(class_index(name, names) for name in asked.classes))
    skipped: list[RegardError] = []

    def skip(error: RegardError) -> None:
        skipped.append(error)
        warn_of_skipped(error)

    reading = Reading(asked.vid_stride, asked.recursive, skip)
    stream = predict_iter(predictor, source, imgsz=asked.imgsz, settings=chosen, batch=asked.batch, reading=reading)
    with claim_folder(output, Path("runs", "predict")) as folder:
        written = save_detections(_printed(stream), folder, files)
        print(printable_line(translate(f"{len(written)} files in {folder}")))
    _end(skipped)


@with_settings(settings=ExportSettings)
def export(
    *,
    model: Model,
    settings: Given,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="File (a folder for openvino); next to the model if not given.", show_default=False
        ),
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option(help="Image to compare with PyTorch on; a drawn scene if not given.", show_default=False),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Compare on the first image of this data set instead.", show_default=False)
    ] = None,
    weights: Weights = None,
    module: Module = None,
) -> None:
    """Export to ONNX, OpenVINO or TorchScript with dynamic batch and size, and compare the file with PyTorch."""
    asked = checked(ExportSettings, settings)
    example = _example(image, data)
    detector = load_model(model, modules=module, weights=weights)

    from regard import api
    from regard.cli.screen import show
    from regard.runtimes.table import default_path

    path = output or default_path(Path(model), asked.format or "onnx")
    format = asked.format or (None if output else "onnx")
    show(api.export(detector, path, image=example, **{**settings, "format": format}))


def _opened(model: str, modules: list[str] | None, settings: ModelSettings, *, parallel: bool = False) -> Predictor:
    """Open a model with the fastest runtime that is available; see `regard.runtimes.open_predictor`."""
    from regard.runtimes import open_predictor
    from regard.runtimes.base import check_input_size
    from regard.weights.hub import local_file

    chosen = modules_of(modules) if modules else None  # importing them needs torch
    opened = open_predictor(local_file(model), modules=chosen, parallel=parallel, **part_of(settings, ModelSettings))
    check_input_size(opened, settings)
    return opened


def _example(image: Path | None, data: str | None) -> NDArray[np.uint8] | None:
    """Read the image to compare on, if one was named."""
    from regard.data.formats import load_data
    from regard.data.images import ImageFile

    if image is not None:
        return ImageFile(image).read()
    if data is None:
        return None
    splits = load_data(data).splits
    records = next((splits[name] for name in ("val", "test", "all", "train") if splits.get(name)), ())
    if not records:
        raise RegardError("the data set has no images", file=data)
    return records[0].image.read()


def _sources(source: list[str] | None, named: list[str] | None) -> list[str]:
    if not source and not named:
        raise RegardError("no source is given", expected="an image, a folder, a video, a URL or 0 (camera)")
    return [*(source or ()), *(named or ())]


def _end(skipped: list[RegardError]) -> None:
    if skipped:
        print(translate(f"skipped, for the reasons above: {len(skipped)}"))
        raise typer.Exit(1)


def _check_output(output: Path | None, sources: list[str]) -> None:
    """Check a folder for results, and that they are not written among images of the same names."""
    check_folder(output or Path("runs"))
    if output is None:
        return
    for source in map(Path, sources):
        folder = source.parent if is_file(source) else source
        if is_folder(folder) and is_folder(output) and os.path.samefile(folder, output):
            what = "the images with boxes would be written among the images themselves"
            raise RegardError(what, file=output, hint="name another folder with --output")


def _printed(stream: Iterable[tuple[Frame, Detections]]) -> Iterator[tuple[Frame, Detections]]:
    """Print one line per frame while passing the frames on."""
    for frame, found in stream:
        counts: dict[str, int] = {}
        for class_id in found.class_ids:
            name = found.names[int(class_id)]
            counts[name] = counts.get(name, 0) + 1
        counted = ", ".join(f"{n} {name}" for name, n in counts.items()) or translate("no detections")
        print(printable_line(f"{frame.source}: {counted}"))
        yield frame, found
