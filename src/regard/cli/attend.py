"""The command that draws the attention of a layer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from regard.cli.options import Device, ImageSize, Model, Module, load_model, place
from regard.config import DEVICE, IMGSZ
from regard.errors import RegardError
from regard.system.files import is_file, portable_name, reject_other
from regard.system.terminal import printable
from regard.system.translation import translate

if TYPE_CHECKING:
    from regard.graph.detector import Detector


Query = Annotated[
    str | None,
    typer.Option(
        metavar="X,Y",
        help="Pixel of the image whose weights are drawn (the centre if not given); with --kind gradient, a "
        "point on the detection to explain (the best one if not given).",
        show_default=False,
    ),
]


def attend(
    model: Model,
    image: Annotated[str | None, typer.Argument(help="Image file or URL.", show_default=False)] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            help="Name or index of the layer; the attention layers are listed if it is not given.", show_default=False
        ),
    ] = None,
    query: Query = None,
    kind: Annotated[
        Literal["map", "gradient"],
        typer.Option(
            help="map: the weights that an attention layer used; gradient: for any layer, what a detection depends on."
        ),
    ] = "map",
    of_class: Annotated[
        str | None,
        typer.Option("--class", help="With --kind gradient: name of the class of the detection.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Image file, a .png; named after the layer if not given.")
    ] = None,
    imgsz: ImageSize = IMGSZ,
    device: Device = DEVICE,
    module: Module = None,
) -> None:
    """Draw what a layer attends to in an image: the query, and the map of each head and their mean."""
    from regard import api
    from regard.runtimes.table import runtime_to_open

    if runtime_to_open(Path(model)):
        raise RegardError(
            "an exported file has no layers to inspect", file=model, expected="the model that was exported"
        )
    detector = place(load_model(model, modules=module), device)
    if layer is None:
        _list_layers(detector)
        return
    if image is None:
        raise RegardError("no image is given", expected=f"regard attend {model} IMAGE --layer {layer}")
    point = None if query is None else _point(query)
    if output is not None and is_file(image) and is_file(output) and os.path.samefile(image, output):
        raise RegardError("the figure would replace the image", file=output, hint="name another file with --output")
    view = api.attend(detector, image, layer=layer, query=point, kind=kind, of_class=of_class, imgsz=imgsz)
    print(printable(f"{translate(view.title)}\n{view.save(output or _own_output(view.layer, kind))}"))


def _own_output(layer: str, kind: str) -> Path:
    """The file that is named after the layer."""
    from regard.visualize.plots import MARK

    output = Path(portable_name(f"{layer}{'-gradient' if kind == 'gradient' else ''}.png"))
    reject_other(output, mark=MARK, hint="give --output")
    return output


def _list_layers(detector: Detector) -> None:
    from regard.visualize.attend import attention_layers

    listed = attention_layers(detector)
    width = max((len(entry.name) for entry in listed), default=0)
    for entry in listed:
        about = translate(f"{entry.module}, {entry.channels} channels, stride {entry.stride}")
        print(printable(f"{entry.name:{width}}  {about}"))
    if not listed:
        print(translate("This model has no attention layer; add one with regard insert."))
    print(translate("--kind gradient works for any layer; regard summary lists them."))


def _point(text: str) -> tuple[float, float]:
    """Read ``200,150``.

    Raises:
        RegardError: the text is not a point.
    """
    try:
        x, y = map(float, text.split(","))
    except ValueError as error:
        raise RegardError(f"--query {text!r} is not a point", expected="x,y in pixels, as in 200,150") from error
    return x, y
