"""Commands for data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from regard.errors import RegardError
from regard.system.translation import translate

Source = Annotated[
    str,
    typer.Argument(
        help="Data set: a file or folder in the format of YOLO, COCO, Pascal VOC or a labelling tool.",
        show_default=False,
    ),
]
SHEET = Path("data_check.jpg")
FirstClass = Annotated[int, typer.Option(help="Class id in YOLO label files that the first name belongs to.", min=0)]


def check(
    path: Source,
    sheet: Annotated[Path, typer.Option(help="File for a contact sheet of labelled images.")] = SHEET,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all that was found as JSON, and draw no sheet.")
    ] = False,
    first_class: FirstClass = 0,
) -> None:
    """List the problems of a data set and how they are handled, and draw labelled images on one sheet.

    The exit code is 1 if something that the data set contains is not used: a box, an image or a label file.
    """
    import json

    from regard.cli.screen import show
    from regard.data.check import check_data
    from regard.data.formats import load_data
    from regard.system.files import reject_other
    from regard.system.terminal import printable_line
    from regard.visualize.contact_sheet import MARK, check_suffix, write_contact_sheet

    check_suffix(sheet)
    if sheet == SHEET and not as_json:
        reject_other(sheet, mark=MARK, hint="give --sheet")
    data = load_data(path, first_class=first_class)
    report = check_data(data)
    if as_json:
        print(json.dumps(report.to_dict(), indent=1))
    else:
        show(report)
        if write_contact_sheet(data, sheet):
            print(printable_line(translate(f"contact sheet: {sheet}")))
    if report.lost:
        raise typer.Exit(1)


def convert(
    path: Source,
    folder: Annotated[Path, typer.Argument(help="New folder for the converted data set.", show_default=False)],
    to: Annotated[str, typer.Option(help="Format to write: yolo or coco.")] = "yolo",
    first_class: FirstClass = 0,
) -> None:
    """Convert a data set to YOLO or COCO: images, boxes, class names and splits, in a new folder.

    The exit code is 1 if the new folder lacks something that the data set contains: a box, an image or a label file.
    """
    from regard.data.convert import WRITERS, convert_data
    from regard.data.formats import load_data
    from regard.data.problems import problem_lines
    from regard.errors import nearest
    from regard.system.terminal import printable_line

    if to not in WRITERS:
        raise RegardError(f"unknown format {to!r}", expected=" or ".join(WRITERS), hint=nearest(to, WRITERS))
    data = load_data(path, first_class=first_class)
    done = convert_data(data, folder, to)
    for line in problem_lines(done.problems):
        print(printable_line(translate(line)))
    for split, count in done.images.items():
        print(printable_line(translate(f"{split}: {count:,} images, {done.boxes[split]:,} boxes")))
    print(printable_line(translate(f"{data.format} converted to {to}: {done.folder}")))
    if lost := sum(problem.lost for problem in done.problems):
        print(translate(f"{lost:,} problems lose something that the data set contains"))
        raise typer.Exit(1)
