"""The command `doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from regard.cli.options import Module, modules_of


def doctor(
    path: Annotated[
        Path,
        typer.Argument(help="Folder of a training run of regard, YOLOv5 or Ultralytics.", show_default=False),
    ],
    against: Annotated[
        Path | None, typer.Option(help="Folder of a second run, whose AP is higher.", show_default=False)
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Data set, if it is not where the run states.", show_default=False)
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="Weights that training started from, if not where the run states.", show_default=False),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Do not open the images of the data set.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all that was found as JSON.")] = False,
    module: Module = None,
) -> None:
    """Look for causes of a low AP in a run folder, and print them with their evidence.

    The exit code is 1 if a cause was found, also if others could not be checked.
    """
    from regard import api
    from regard.cli.screen import show
    from regard.system.terminal import printable

    found = api.doctor(path, against=against, data=data, weights=weights, modules=modules_of(module), quick=quick)
    if as_json:
        print(printable(found.to_json()))
    else:
        show(found, soft_wrap=True)
    if found.is_healthy is False:
        raise typer.Exit(1)
