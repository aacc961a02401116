"""The command `diff`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from regard.cli.options import ImageSize, Module, modules_of
from regard.config import IMGSZ
from regard.system.translation import translate

KINDS = "Checkpoint (.pt), .safetensors, model YAML, overlay, run folder, or a name such as yolov5n or yolo11n"


def diff(
    a: Annotated[str, typer.Argument(help=f"First model. {KINDS}.", show_default=False)],
    b: Annotated[str, typer.Argument(help="Second model, of any family.", show_default=False)],
    imgsz: ImageSize = IMGSZ,
    plot: Annotated[Path | None, typer.Option(help="PNG file for a figure of both models.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all differences as JSON.")] = False,
    module: Module = None,
) -> None:
    """Compare two models: layers, tensors that the second can take from the first, and costs."""
    from regard import api
    from regard.cli.screen import show
    from regard.errors import RegardError
    from regard.system.terminal import printable

    if plot is not None and plot.suffix.lower() != ".png":
        raise RegardError(f"the suffix {plot.suffix!r} is not a known format", file=plot, expected=".png")
    found = api.diff(a, b, imgsz=imgsz, modules=modules_of(module), plot=plot)
    if as_json:
        print(printable(found.to_json()))
        return
    show(found, soft_wrap=True)
    if plot is not None:
        print(printable(translate(f"figure: {plot}")))
