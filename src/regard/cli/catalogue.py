"""The command that lists the modules of the catalogue."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from regard.system.translation import translate

if TYPE_CHECKING:
    from regard.profiling.catalogue import Entry

Format = Literal["text", "json", "markdown"]
HEADINGS = ("module", "family", "linear", "exports", "Q, K, V")


def catalogue(
    family: Annotated[
        list[str] | None,
        typer.Option(help="Family, such as channel, local or kernel. May be given several times.", show_default=False),
    ] = None,
    linear: Annotated[
        bool | None,
        typer.Option("--linear/--not-linear", help="Cost proportional to the number of positions.", show_default=False),
    ] = None,
    exportable: Annotated[
        bool | None, typer.Option("--exportable/--not-exportable", help="Can be exported.", show_default=False)
    ] = None,
    qkv: Annotated[
        bool | None, typer.Option("--qkv/--no-qkv", help="Multiplies queries with keys.", show_default=False)
    ] = None,
    pos_embed: Annotated[
        str | None, typer.Option(help="Position embedding that it accepts, such as rotary.", show_default=False)
    ] = None,
    max_gflops: Annotated[
        float | None, typer.Option(help="Largest number of GFLOPs at the level of --at.", show_default=False)
    ] = None,
    at: Annotated[
        Literal["p3", "p4", "p5"], typer.Option(help="Level of --max-gflops and of the order, in yolov5n at 640 px.")
    ] = "p3",
    format: Annotated[Format, typer.Option(help="Output format.")] = "text",
) -> None:
    """List attention modules by family, cost and abilities; the cheapest comes first."""
    from regard.nn.attention import ATTENTION
    from regard.profiling.catalogue import entry, select

    level = at.upper()
    select([], family=family or (), pos_embed=pos_embed)  # a wrong name is reported before any work
    found = select(
        map(entry, ATTENTION),
        family=family or (),
        linear=linear,
        exportable=exportable,
        qkv=qkv,
        pos_embed=pos_embed,
        max_gflops=max_gflops,
        level=level,
    )
    _show(sorted(found, key=lambda e: e.flops.get(level, 0)), format)


def _show(found: list[Entry], format: Format) -> None:
    from rich.cells import cell_len, set_cell_size

    from regard.profiling.catalogue import LEVELS

    if format == "json":
        print(json.dumps([asdict(e) for e in found], indent=2))
        return
    words = translate if format == "text" else str
    rows = [[*map(words, HEADINGS), *(f"GFLOPs {level}" for level in LEVELS)]]
    rows += [
        [e.name, e.family, *(words("yes" if is_so else "no") for is_so in (e.linear, e.exportable, e.qkv))]
        + [f"{e.flops[level] / 1e9:.4f}" if level in e.flops else "-" for level in LEVELS]
        for e in found
    ]
    if format == "markdown":
        rows.insert(1, ["---"] * len(rows[0]))
        print("\n".join(f"| {' | '.join(cells)} |" for cells in rows))
        return
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for cells in rows:
        print("  ".join(map(set_cell_size, cells, widths)).rstrip())
    print(translate(f"{len(found)} modules; GFLOPs at the levels of yolov5n for an image of 640 px"))
