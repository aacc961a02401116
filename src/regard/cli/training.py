"""Commands on data and training: data check, train, demo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regard.cli.from_settings import Given, with_settings
from regard.cli.options import AllowMiswired, Module, Weights, callbacks_of, load_model, modules_of
from regard.config import TrainSettings, checked
from regard.config.commands import TRACKERS
from regard.errors import RegardError
from regard.system.files import check_folder
from regard.system.launcher import is_first_process
from regard.system.translation import translate

if TYPE_CHECKING:
    from regard.graph.detector import Detector
    from regard.training.run import Run


Resume = Annotated[
    Path | None,
    typer.Option(
        help="Continue the run in this folder. --data is needed if the data set has moved; --epochs, --patience, "
        "--val-every, --device, --devices, --workers, --cache and --plots may change.",
        show_default=False,
    ),
]
Callbacks = Annotated[
    list[str] | None,
    typer.Option(
        help="Your own callback, as in my_callbacks.py:MyCallback, a class that derives from regard.Callback and "
        "is made without arguments. May be given several times.",
        show_default=False,
    ),
]
Trackers = Annotated[
    list[str] | None,
    typer.Option(
        help=f"Log the run to this tracker too: {', '.join(TRACKERS)}. May be given several times.",
        show_default=False,
    ),
]


@with_settings(settings=TrainSettings)
def train(
    *,
    model: Annotated[
        str | None, typer.Argument(help="Model to train: see `regard summary --help`.", show_default=False)
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Data set to train on: see `regard data check --help`.", show_default=False)
    ] = None,
    weights: Weights = None,
    settings: Given,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the run; runs/train if not given.", show_default=False),
    ] = None,
    resume: Resume = None,
    callback: Callbacks = None,
    tracker: Trackers = None,
    verbose: Annotated[bool, typer.Option(help="Print the layers, the progress and the results.")] = True,
    module: Module = None,
    allow_miswired: AllowMiswired = False,
) -> None:
    """Train a detector; the folder of the run keeps weights, results, settings and images."""
    from regard import api

    watch: dict[str, Any] = {"callbacks": callbacks_of(callback, tracker), "verbose": verbose}
    if resume is not None:
        idle = {"MODEL": model, "--weights": weights, "--output": output, "--allow-miswired": allow_miswired or None}
        if given := [name for name, value in idle.items() if value is not None]:
            what = f"a resumed run keeps its model and folder: {', '.join(given)} would have no effect"
            raise RegardError(what, expected="regard train --resume FOLDER [--data DATA] [--epochs N]")
        run = api.resume(resume, data=data, modules=modules_of(module), **settings, **watch)
    else:
        if model is None or data is None:
            raise RegardError("no model or no data", expected="regard train MODEL --data DATA, or --resume FOLDER")
        if output:
            from regard.training.folder import reject_taken

            check_folder(output)
            reject_taken(output)
        detector = _start(model, module, weights, allow_miswired, checked(TrainSettings, settings))
        if verbose and is_first_process():
            from regard.cli.screen import localized
            from regard.system.terminal import plain_text

            print(plain_text(localized(detector.summary(checked(TrainSettings, settings).imgsz)), 160))
        run = api.train(detector, data, folder=output, **settings, **watch)
    if is_first_process():
        _report(run, verbose)


def _report(run: Run, verbose: bool) -> None:
    from regard.cli.screen import show

    if verbose:
        show(run.metrics)
        for name, gamma in run.gates.items():
            show(translate(f"gate of {name}: {gamma:+.4f}"))
    show(translate(f"everything is in {run.folder}; the best weights are best.safetensors"))


def _start(
    model: str, modules: list[str] | None, weights: str | None, allow_miswired: bool, settings: TrainSettings
) -> Detector:
    """Load the detector that training starts from."""
    import torch

    torch.manual_seed(settings.seed)  # a model without weights starts from random ones
    return load_model(model, modules=modules, weights=weights, allow_miswired=allow_miswired)


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for its two studies.")] = Path("runs/demo"),
) -> None:
    """Run a small study on drawn images: does a layer that sees the whole image help? It takes a few minutes."""
    from regard.demo import run_demo

    run_demo(output)
