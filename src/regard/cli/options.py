"""Options that several commands share, and what turns their text into values. No torch here: ``--help`` is fast."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
import yaml

from regard.errors import RegardError

if TYPE_CHECKING:
    from torch import nn

    from regard.backend import Backend
    from regard.finder import Finder
    from regard.graph.detector import Detector

Model = Annotated[
    str,
    typer.Argument(
        help="A YOLOv5 .pt, a .safetensors, a model YAML (YOLOv5's or native), an overlay, a run folder, "
        "or a name such as yolov5n.",
        show_default=False,
    ),
]
Module = Annotated[
    list[str] | None,
    typer.Option(
        "--module",
        help="Your own layer, as my_attention.py:MyBlock (or my_attention.py for all in it). Its constructor is "
        "(in_channels, **options) or YOLOv5's (c1, c2, *args). May be given several times.",
        show_default=False,
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(help="Fill the model from this file, as far as its tensors have a place.", show_default=False),
]
AllowMiswired = Annotated[
    bool, typer.Option("--allow-miswired", help="Warn of a graph that looks mis-wired instead of refusing it.")
]
ImageSize = Annotated[int, typer.Option("--imgsz", "--img", help="Size of the input in pixels.")]
Data = Annotated[
    str,
    typer.Option(
        help="A YOLO data.yaml or its folder, a COCO .json, a Pascal VOC folder, or synthetic:context / "
        "synthetic:local, which need no files.",
        show_default=False,
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
BackendName = Annotated[
    Literal["auto", "torch", "onnxruntime", "openvino"],
    typer.Option(
        help="What computes on the processor: auto takes ONNX Runtime, else OpenVINO, where regard[fast] is installed, "
        "and prepares the model once, in ~/.cache/regard or REGARD_CACHE. REGARD_BACKEND says what auto means.",
    ),
]
Precision = Annotated[
    Literal["float32", "auto"],
    typer.Option(help="auto: bfloat16 where it costs at most 0.002 AP on the images of --calibration."),
]
Calibration = Annotated[
    str | None,
    typer.Option(help="Labelled images, as for --data, that --precision auto measures on.", show_default=False),
]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--arg", "-a", help="An option of the layer, as ratio=16. May be given several times.", show_default=False
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="Where to write the result: a .yaml for the graph alone, a .safetensors for graph and weights. The graph "
        "is printed where this is not given.",
        show_default=False,
    ),
]
Conf = Annotated[float, typer.Option("--conf", "--conf-thres", help="Smallest score.")]
Iou = Annotated[float, typer.Option("--iou", "--iou-thres", help="IoU above which NMS drops the lower-scored box.")]
MaxDet = Annotated[int, typer.Option("--max-det", help="At most this many detections an image.")]
Agnostic = Annotated[bool, typer.Option("--agnostic-nms", help="Let boxes of different classes suppress each other.")]


def modules_of(references: Sequence[str] | None) -> dict[str, type[nn.Module]]:
    """Import the users' layers that were named."""
    from regard.graph.user_modules import import_modules

    return import_modules(references or ())


def load_model(
    model: str, *, modules: Sequence[str] | None = None, weights: str | None = None, allow_miswired: bool = False
) -> Detector:
    """Load a detector; where weights come from another file, say what became of them."""
    from rich.console import Console

    from regard.weights.detector import load_detector, load_matching

    classes = modules_of(modules)
    detector = load_detector(model, modules=classes, allow_miswired=allow_miswired)
    if weights is None:
        return detector
    detector, report = load_matching(detector, load_detector(weights, modules=classes))
    Console(stderr=True).print(report)
    return detector


def load_backend(model: str, *, modules: Sequence[str] | None, device: str) -> Backend:
    """Load an exported file, or a detector onto a device."""
    from regard.exporting import is_exported, load_exported

    if is_exported(Path(model)):
        return load_exported(model)
    return place(load_model(model, modules=modules), device)


def open_model(
    model: str,
    modules: Sequence[str] | None,
    *,
    device: str,
    backend: str,
    precision: str,
    calibration: str | None,
    imgsz: int,
) -> Backend | Finder:
    """Open a model to predict with, the quickest way; see `regard.inference.open_finder`."""
    from regard.inference import open_finder

    return open_finder(
        model,
        device=device,
        backend=backend,
        precision=precision,
        calibration=calibration,
        imgsz=imgsz,
        modules=modules_of(modules) if modules else None,
    )


def place(detector: Detector, device: str) -> Detector:
    """Move a detector to a device.

    Raises:
        RegardError: there is no such device here.
    """
    from regard.inference.pytorch import place as moved

    return moved(detector, device)


def options_of(pairs: Sequence[str] | None, flag: str = "--arg", example: str = "ratio=16") -> dict[str, Any]:
    """Turn ``ratio=16`` into ``{"ratio": 16}``; values are read as YAML.

    Args:
        pairs: as they were given.
        flag: by which, for messages.
        example: of one of its pairs, for messages.

    Raises:
        RegardError: no ``=``, or not a value.
    """
    options = {}
    for pair in pairs or ():
        name, equals, text = pair.partition("=")
        if not equals or not name.isidentifier():
            raise RegardError(f"{flag} {pair!r} is not an option", expected=f"name=value, as in {flag} {example}")
        try:
            options[name] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise RegardError(
                f"{flag} {pair!r}: the value cannot be read", expected="a number, word or [list]"
            ) from error
    return options


def class_list(text: str | None) -> tuple[str, ...]:
    """Split ``person,car`` or ``0 2`` into names or numbers."""
    return tuple(text.replace(",", " ").split()) if text else ()
