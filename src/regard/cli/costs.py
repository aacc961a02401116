"""The command that profiles a model."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from regard.cli.options import AllowMiswired, Device, ImageSize, Model, Module, Weights, load_model, place
from regard.config import DEVICE, IMGSZ


def cost(
    model: Model,
    imgsz: ImageSize = IMGSZ,
    device: Device = DEVICE,
    repeats: Annotated[int, typer.Option(help="Number of timed runs; times are their medians.")] = 10,
    format: Annotated[Literal["text", "json", "markdown"], typer.Option(help="Output format.")] = "text",
    weights: Weights = None,
    module: Module = None,
    allow_miswired: AllowMiswired = False,
) -> None:
    """Print FLOPs, time and memory of every layer, and how much a cheaper attention could speed up the whole model."""
    from rich.console import Console

    from regard import api

    detector = load_model(model, modules=module, weights=weights, allow_miswired=allow_miswired)
    report = api.cost(place(detector, device), imgsz=imgsz, repeats=repeats)
    if format == "text":
        console = Console()
        console.print(report) if console.width >= 110 else print(report)
    else:
        print(report.to_json() if format == "json" else report.to_markdown())
