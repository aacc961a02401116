"""The command that trains."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from regard.cli.options import AllowMiswired, Device, ImageSize, Module, Weights, class_list, load_model, modules_of
from regard.errors import RegardError


def train(
    model: Annotated[
        str | None, typer.Argument(help="What to train: see `regard summary --help`.", show_default=False)
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="The data set: see `regard data check --help`.", show_default=False)
    ] = None,
    weights: Weights = None,
    epochs: Annotated[int, typer.Option(help="Passes over the training images.")] = 100,
    imgsz: ImageSize = 640,
    batch: Annotated[int, typer.Option(help="Images a step over all processes.")] = 16,
    seed: Annotated[int, typer.Option(help="The same seed gives the same run.")] = 0,
    recipe: Annotated[
        str, typer.Option("--recipe", "--hyp", help="default, yolov5, or a YOLOv5 hyp.yaml.")
    ] = "default",
    device: Device = "auto",
    devices: Annotated[int, typer.Option(help="Processes, each on a device of its own (DDP).")] = 1,
    precision: Annotated[
        Literal["32", "bf16", "fp16", "auto"],
        typer.Option(help="Of the network; the loss is in float32 always. auto: bf16 where the hardware has it."),
    ] = "auto",
    workers: Annotated[int, typer.Option(help="Processes that prepare images.")] = 2,
    cache: Annotated[
        Literal["auto", "none", "ram", "disk"],
        typer.Option(
            help="Keep images decoded and reduced to the input size: ram, or disk, which is the folder image-cache "
            "beside the run's. Runs there share it; you may delete it at any time. auto: ram where they are few."
        ),
    ] = "auto",
    freeze: Annotated[
        str | None,
        typer.Option(help="Layers that do not learn: names, 'backbone', or how many first ones.", show_default=False),
    ] = None,
    freeze_batchnorm: Annotated[
        bool, typer.Option("--freeze-batchnorm", help="Keep the statistics of batch norm as they are.")
    ] = False,
    multi_scale: Annotated[bool, typer.Option("--multi-scale", help="Vary the input size by half.")] = False,
    rect: Annotated[bool, typer.Option("--rect", help="Batches of like shape, without mosaic.")] = False,
    patience: Annotated[int, typer.Option(help="Stop after so many epochs without a better one; 0 never does.")] = 100,
    autoanchor: Annotated[bool, typer.Option(help="Fit the anchors where they reach too few boxes.")] = True,
    single_cls: Annotated[bool, typer.Option("--single-cls", help="Train all objects as one class.")] = False,
    classes: Annotated[
        str | None, typer.Option(help="Keep only the boxes of these classes: names or numbers.", show_default=False)
    ] = None,
    val_every: Annotated[int, typer.Option(help="Epochs from one validation to the next.")] = 1,
    plots: Annotated[bool, typer.Option(help="Draw pictures and curves.")] = True,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the run; runs/train where not given.", show_default=False),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(help="Continue the run in this folder; no other option is needed.", show_default=False),
    ] = None,
    module: Module = None,
    allow_miswired: AllowMiswired = False,
) -> None:
    """Train a detector; the run's folder keeps weights, results, settings and pictures."""
    import torch
    from rich.console import Console

    from regard import api

    console = Console()
    if resume is not None:
        run = api.resume(resume, modules=modules_of(module))
    else:
        if model is None or data is None:
            raise RegardError("what to train on what?", expected="regard train MODEL --data DATA, or --resume FOLDER")
        torch.manual_seed(seed)  # a model without weights starts from random ones
        detector = load_model(model, modules=module, weights=weights, allow_miswired=allow_miswired)
        print(detector.summary(imgsz))
        run = api.train(
            detector,
            data,
            folder=output,
            recipe=recipe,
            epochs=epochs,
            imgsz=imgsz,
            batch=batch,
            seed=seed,
            device=device,
            devices=devices,
            precision=precision,
            workers=workers,
            cache=cache,
            freeze=class_list(freeze),
            freeze_batchnorm=freeze_batchnorm,
            multi_scale=multi_scale,
            rect=rect,
            patience=patience,
            autoanchor=autoanchor,
            single_cls=single_cls,
            classes=class_list(classes),
            val_every=val_every,
            plots=plots,
        )
    console.print(run.metrics)
    for name, gamma in run.gates.items():
        console.print(f"gate of {name}: {gamma:+.4f}")
    console.print(f"everything is in {run.folder}; the best weights are best.safetensors")


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to keep its two studies.")] = Path("runs/demo"),
) -> None:
    """Run a small study on drawn images: does a layer that sees the whole image pay? A few minutes; it can go on."""
    from regard.demo import run_demo

    run_demo(output)
