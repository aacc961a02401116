"""What results print on a console of the user's own, which reads markup: names are shown as they are."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

import regard
from regard.runtimes.export import ExportReport
from regard.system.plain_table import PlainTable
from regard.system.terminal import plain_text
from regard.types import AttentionMap

NAME = "[/nope] [red]x :cat:"


def shown(value: object) -> str:
    console = Console(file=io.StringIO(), width=200, color_system=None)
    console.print(value)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_texts_of_tables_are_no_markup() -> None:
    table = PlainTable(NAME, title=f"title {NAME}", caption=f"caption {NAME}")
    table.add_row(f"cell {NAME}")
    text = shown(table)
    assert [f"{part} {NAME}" in text for part in ("title", "caption", "cell")] == [True] * 3
    assert text.count(NAME) == 4
    assert plain_text(table, 200).split() == text.split()


def test_results_print_hostile_names_on_any_console() -> None:
    model = regard.load("odd-one-out")
    metrics = regard.validate(model, "synthetic:context?train=2&val=5&test=0", imgsz=64, workers=0)
    named = replace(metrics, per_class=tuple(replace(entry, name=NAME, labels=3) for entry in metrics.per_class))
    assert shown(named).count(NAME) == len(named.per_class)
    assert NAME in shown(ExportReport(Path(NAME), "onnx", 17, 5, (), 1e-3, 0.1))
    other = replace(regard.diff(model, model, imgsz=64), names=(NAME, "b"), classes=NAME)
    assert shown(other).count(NAME) == 2
    assert "<table>" in other._repr_html_()
    cost = regard.cost(model, imgsz=64, repeats=1)
    assert NAME in shown(replace(cost, rows=(replace(cost.rows[0], name=NAME),)))


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("spatial", (0, 8, 8)),
        ("channel", (0, 5)),
        ("rows", (1, 0, 2, 3, 3)),
        ("rows", (0, 2, 2, 3, 3)),
        ("elements", (1, 0, 3, 3)),
    ],
)
def test_attention_without_weights_has_no_image_and_no_error(kind: str, shape: tuple[int, ...]) -> None:
    empty = AttentionMap(kind, torch.zeros(shape))
    assert empty._repr_png_() is None
    assert " x ".join(map(str, shape)) in empty._repr_html_()
    assert "<img" not in empty._repr_html_()


def test_attention_that_is_no_number_is_said_and_not_drawn() -> None:
    weights = torch.rand(1, 3, 5)
    assert "<img" in AttentionMap("spatial", weights)._repr_html_()
    weights[0, 1, 2], weights[0, 2, 2] = torch.nan, torch.inf
    text = AttentionMap("spatial", weights)._repr_html_()
    assert "2 of 15 weights are NaN or infinite" in text
    assert "<img" not in text


@pytest.mark.parametrize(("suffix", "has_option"), [(".onnx", False), (".engine", False), (".ckpt", True)])
def test_the_advice_on_an_exported_model_names_no_option_that_is_not_there(suffix: str, has_option: bool) -> None:
    with pytest.raises(regard.RegardError) as error:
        regard.graph.read.read_spec(f"x{suffix}") if has_option else regard.diff(f"x{suffix}", "odd-one-out")
    assert ("--weights" in str(error.value)) is has_option
