"""Options that several commands share, and the conversion of their text into values. Importing this needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regard.config.commands import IMAGE_SIZE_HELP
from regard.errors import RegardError

if TYPE_CHECKING:
    from torch import nn

    from regard.graph.detector import Detector
    from regard.training.callbacks import Callback

Model = Annotated[
    str,
    typer.Argument(
        help="Checkpoint (.pt), .safetensors, model YAML, overlay, run folder, or a name such as yolov5n or yolo11n.",
        show_default=False,
    ),
]
Runnable = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="What `regard summary` reads, such as a run folder or a file of weights, or an exported file: .onnx, .xml "
        "or folder of OpenVINO, .torchscript.",
        show_default=False,
    ),
]
Module = Annotated[
    list[str] | None,
    typer.Option(
        "--module",
        help="Your own layer, as in my_attention.py:MyBlock (or my_attention.py for all layers in the file). Its "
        "constructor is (in_channels, **options) or YOLOv5's (c1, c2, *args). May be given several times.",
        show_default=False,
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(help="Load the matching tensors of the model from this file.", show_default=False),
]
AllowMiswired = Annotated[
    bool, typer.Option("--allow-miswired", help="Warn about a graph that looks mis-wired instead of rejecting it.")
]
ImageSize = Annotated[int, typer.Option("--imgsz", "--img", help=f"{IMAGE_SIZE_HELP}.")]
Data = Annotated[
    str,
    typer.Option(
        help="YOLO data.yaml or its folder, COCO .json, Pascal VOC folder, or synthetic:context / "
        "synthetic:local, which need no files.",
        show_default=False,
    ),
]
Device = Annotated[str, typer.Option(help="Device: auto, cpu, cuda, cuda:1 or mps.")]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--arg", "-a", help="Option of the layer, such as reduction=16. May be given several times.", show_default=False
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="File for the result: a .yaml for the graph alone, a .safetensors for graph and weights. The graph "
        "is printed if this is not given.",
        show_default=False,
    ),
]


def modules_of(references: Sequence[str] | None) -> dict[str, type[nn.Module]]:
    """Import the users' layers that were named."""
    from regard.graph.user_modules import import_modules

    return import_modules(references or ())


def callbacks_of(references: Sequence[str] | None, trackers: Sequence[str] | None = None) -> list[Callback]:
    """Make the trackers that were named, and one callback of each of the user's classes, which are imported.

    Raises:
        RegardError: no such tracker, file or class, or a class that cannot be made without arguments.
    """
    from regard.graph.user_modules import import_classes
    from regard.training.callbacks import Callback, checked_callbacks
    from regard.training.callbacks.trackers import trackers_named

    callbacks = trackers_named(trackers or ())
    for reference in references or ():
        for name, kind in import_classes([reference], Callback, "callback").items():
            try:
                callbacks.append(kind())
            except Exception as error:  # the user's code may raise anything
                found = f"{name}() raised {type(error).__name__}: {error}"
                expected = "a callback whose constructor needs no arguments"
                raise RegardError(found, file=reference.partition(".py:")[0], expected=expected) from error
    return list(checked_callbacks(callbacks))


def load_model(
    model: str, *, modules: Sequence[str] | None = None, weights: str | None = None, allow_miswired: bool = False
) -> Detector:
    """Load a detector; where weights come from another file, report which tensors were loaded."""
    from regard.cli.screen import localized
    from regard.system.terminal import plain_console
    from regard.weights.detector import load_from_anywhere, with_weights
    from regard.weights.hub import local_file

    classes = modules_of(modules)
    detector = load_from_anywhere(model, modules=classes, allow_miswired=allow_miswired)
    if weights is None:
        return detector
    detector, report = with_weights(detector, local_file(weights), classes)
    plain_console(stderr=True).print(localized(report))
    return detector


def place(detector: Detector, device: str) -> Detector:
    """Move a detector to a device.

    Raises:
        RegardError: there is no such device here.
    """
    from regard.system.device import choose_device

    return detector.to(choose_device(device))


def options_of(pairs: Sequence[str] | None, flag: str = "--arg", example: str = "reduction=16") -> dict[str, Any]:
    """Turn ``reduction=16`` into ``{"reduction": 16}``; values are read as YAML.

    Args:
        pairs: what the user gave.
        flag: the option, for messages.
        example: a valid pair, for messages.

    Raises:
        RegardError: no ``=``, or not a value.
    """
    from regard.system.loaders import parse_yaml

    options = {}
    for pair in pairs or ():
        name, equals, text = pair.partition("=")
        if not equals or not name.isidentifier():
            raise RegardError(f"{flag} {pair!r} is not an option", expected=f"name=value, as in {flag} {example}")
        try:
            options[name] = parse_yaml(text, None)[0]
        except RegardError as error:
            raise RegardError(f"{flag} {pair!r:.200}: {error.what}", expected="a number, word or [list]") from error
    return options
