"""Commands on a model and its graph: summary, cost, insert, replace, remove."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from regard.cli.options import (
    AllowMiswired,
    Device,
    ImageSize,
    Model,
    Module,
    Options,
    Output,
    Weights,
    load_model,
    modules_of,
    options_of,
    place,
)
from regard.config import DEVICE, IMGSZ
from regard.errors import RegardError
from regard.system.terminal import printable, printable_line
from regard.system.translation import translate, translate_lines

if TYPE_CHECKING:
    from regard.graph.detector import Detector
    from regard.graph.spec import ModelSpec
    from regard.weights.transfer import TransferReport

YoloV5 = Annotated[
    bool,
    typer.Option("--integers", "--yolov5", help="Write YAML with plain integers, as the model's family reads it."),
]
Ungated = Annotated[
    bool,
    typer.Option("--ungated", help="With --yolov5: write gated layers without their gates, which is another network."),
]


def _list_models(asked: bool) -> None:
    """Print the names of the model zoo, as an option that needs no model."""
    if asked:
        from regard.graph.read import zoo

        print("\n".join(zoo()))
        raise typer.Exit


def summary(
    model: Model,
    weights: Weights = None,
    module: Module = None,
    imgsz: ImageSize = IMGSZ,
    format: Annotated[Literal["text", "json", "markdown"], typer.Option(help="Output format.")] = "text",
    allow_miswired: AllowMiswired = False,
    _list: Annotated[
        bool,
        typer.Option("--list", help="Print the names of the model zoo and exit.", callback=_list_models, is_eager=True),
    ] = False,
) -> None:
    """Print a model's layers with shapes, parameters and FLOPs; report wiring errors."""
    from regard.cli.screen import show

    detector = load_model(model, modules=module, weights=weights, allow_miswired=allow_miswired)
    table = detector.summary(imgsz)
    if format == "text":
        show(table, wide=120)
    else:
        print(printable(table.to_json() if format == "json" else table.to_markdown()))


def lint(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILES",
            help="Model YAMLs, folders (all YAML files below that contain a graph) "
            "or patterns such as 'models/**/*.yaml'.",
            show_default=False,
        ),
    ],
    format: Annotated[
        Literal["text", "github", "json"], typer.Option(help="Output format; github annotates a pull request.")
    ] = "text",
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 on notes too.")] = False,
    module: Module = None,
) -> None:
    """Check the wiring of many model files; exit with 1 on findings, with 2 if a file cannot be read."""
    from regard.graph import lint_files

    findings: list[lint_files.Finding] = []
    checked = 0
    for _, found, is_graph in lint_files.lint_each(files, modules=modules_of(module)):
        findings, checked = findings + found, checked + is_graph
        if found and format != "json":
            print(lint_files.formatted(found, format, translate), flush=True)  # its lines are printable
    if format == "json":
        print(printable(lint_files.formatted(findings, format)))
    wrong = len({finding.file for finding in findings if finding.kind != "note"})
    print(translate(f"{checked} graphs checked, {wrong} files with errors"), file=sys.stderr)
    raise typer.Exit(lint_files.exit_code(findings, strict=strict))


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
    from regard import api
    from regard.cli.screen import show

    detector = load_model(model, modules=module, weights=weights, allow_miswired=allow_miswired)
    report = api.cost(place(detector, device), imgsz=imgsz, repeats=repeats)
    if format == "text":
        show(report, wide=110, plain=120)
    else:
        print(printable(report.to_json() if format == "json" else report.to_markdown()))


def insert(
    model: Model,
    layer: Annotated[
        str, typer.Argument(metavar="LAYER", help="Layer to insert: SE, C3, ... or your own by --module.")
    ],
    after: Annotated[
        str, typer.Option(help="Name or index of the layer that the new one follows, such as sppf, p4 or 9.")
    ],
    arg: Options = None,
    gate: Annotated[
        bool, typer.Option(help="Put the layer behind a gate that is closed at the start, y = x + g (f(x) - x).")
    ] = True,
    name: Annotated[str | None, typer.Option(help="Name of the new layer.", show_default=False)] = None,
    reader: Annotated[
        list[str] | None,
        typer.Option(
            help="Layer that shall read the new one, among those that read the layer of --after; all of them if not "
            "given. May be given several times.",
            show_default=False,
        ),
    ] = None,
    weights: Weights = None,
    output: Output = None,
    yolov5: YoloV5 = False,
    ungated: Ungated = False,
    module: Module = None,
    allow_miswired: AllowMiswired = False,
) -> None:
    """Insert a layer after another by name; all references are updated and all weights are kept."""
    from regard.graph import edit
    from regard.weights.detector import rebuild

    detector = load_model(model, modules=module, weights=weights, allow_miswired=allow_miswired)
    spec = edit.insert(detector.spec, layer, after=after, options=options_of(arg), gate=gate, name=name, readers=reader)
    edited, report = rebuild(detector, spec, modules=modules_of(module), allow_miswired=allow_miswired)
    _deliver(edited, output, report, yolov5=yolov5, ungated=ungated)


def replace(
    model: Model,
    layer: Annotated[str, typer.Argument(metavar="LAYER", help="Name or index of the layer to replace.")],
    by: Annotated[str, typer.Argument(metavar="BY", help="Layer that replaces it: C3TR, GhostConv, ...")],
    arg: Options = None,
    weights: Weights = None,
    output: Output = None,
    yolov5: YoloV5 = False,
    ungated: Ungated = False,
    module: Module = None,
    allow_miswired: AllowMiswired = False,
) -> None:
    """Replace a layer; the new one keeps its name and, unless others are given, the options that it has too."""
    from regard.graph import edit
    from regard.weights.detector import rebuild

    detector = load_model(model, modules=module, weights=weights, allow_miswired=allow_miswired)
    spec = edit.replace_layer(detector.spec, layer, by, options=options_of(arg), modules=modules_of(module))
    edited, report = rebuild(detector, spec, modules=modules_of(module), allow_miswired=allow_miswired)
    _deliver(edited, output, report, yolov5=yolov5, ungated=ungated)


def remove(
    model: Model,
    layer: Annotated[str, typer.Argument(metavar="LAYER", help="Name or index of the layer to remove.")],
    weights: Weights = None,
    output: Output = None,
    yolov5: YoloV5 = False,
    ungated: Ungated = False,
    module: Module = None,
    allow_miswired: AllowMiswired = False,
) -> None:
    """Remove a layer; its readers then read its input."""
    from regard.graph import edit
    from regard.weights.detector import rebuild

    detector = load_model(model, modules=module, weights=weights, allow_miswired=allow_miswired)
    edited, report = rebuild(detector, edit.remove(detector.spec, layer), allow_miswired=allow_miswired)
    _deliver(edited, output, report, yolov5=yolov5, ungated=ungated)


def convert(
    model: Model,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Folder, or .safetensors file next to which the graph is written as YAML. With --to native: a "
            ".safetensors, or a .yaml for the graph alone.",
            show_default=False,
        ),
    ],
    to: Annotated[
        Literal["ultralytics", "yolov5", "native"],
        typer.Option(help="Package that reads the files; native is the form of regard."),
    ] = "native",
    weights: Weights = None,
    module: Module = None,
    allow_miswired: AllowMiswired = False,
) -> None:
    """Write a model for another package, or an old file in the present form."""
    from regard import api

    detector = load_model(model, modules=module, weights=weights, allow_miswired=allow_miswired)
    converted = api.convert(detector, output, to=to)
    print(printable_line(f"{', '.join(map(str, converted.files))}: {translate(detector.summary().totals)}"))
    if text := translate_lines(converted.to_text()):
        print(printable(text))


def _check_form(output: Path | None, *, yolov5: bool, ungated: bool) -> None:
    if ungated and not yolov5:
        raise RegardError("--ungated changes how --yolov5 writes gates", hint="add --yolov5, or insert with --no-gate")
    if yolov5 and output is not None and output.suffix == ".safetensors":
        raise RegardError("--yolov5 writes a YAML", file=output, expected="a name that ends in .yaml")


def _integers(spec: ModelSpec, output: Path | None, ungated: bool) -> str:
    if spec.anchors is not None:
        return spec.to_yolov5_yaml(ungated=ungated)
    return spec.to_ultralytics_yaml(ungated=ungated, file=output)


def _deliver(detector: Detector, output: Path | None, report: TransferReport, *, yolov5: bool, ungated: bool) -> None:
    """Print the graph, or write it, with its weights if the file can hold them; say which weights were lost."""
    from regard.system.files import write_file
    from regard.weights.detector import save_detector

    _check_form(output, yolov5=yolov5, ungated=ungated)
    if output is not None and output.suffix == ".safetensors":
        save_detector(output, detector)
        if report.unused or report.partly:
            print(printable(translate_lines(report.to_text())), file=sys.stderr)
    else:
        spec = detector.spec
        text = _integers(spec, output, ungated) if yolov5 else spec.to_yaml()
        if output is None:
            print(printable(text) if sys.stdout.isatty() else text, end="")
            return
        if output.suffix not in (".yaml", ".yml"):
            raise RegardError(
                f"the suffix {output.suffix!r} is not a known format", file=output, expected=".yaml or .safetensors"
            )
        write_file(output, text)
    print(printable_line(f"{output}: {translate(detector.summary().totals)}"))
