"""Commands on data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def check(
    path: Annotated[
        str,
        typer.Argument(
            help="YOLO data.yaml or its folder, a COCO .json, a Pascal VOC folder, or synthetic:context.",
            show_default=False,
        ),
    ],
    sheet: Annotated[Path, typer.Option(help="File for a contact sheet of labelled images.")] = Path("data_check.jpg"),
) -> None:
    """List the problems of a data set and how they are handled, and draw labelled images on one sheet."""
    from rich.console import Console

    from regard.data.check import check_data
    from regard.data.formats import load_data
    from regard.visualize.contact_sheet import check_suffix, write_contact_sheet

    check_suffix(sheet)
    data = load_data(path)
    Console().print(check_data(data))
    if write_contact_sheet(data, sheet):
        print(f"contact sheet: {sheet}")
