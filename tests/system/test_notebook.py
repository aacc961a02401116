"""What a notebook shows of each value: whole, escaped, without colours of its own, and a bar that is one display."""

from __future__ import annotations

import io
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from rich.table import Table

import regard
from regard import Detections
from regard.drawing import SHOWN_SIDE, heat_map
from regard.profiling.report import CostReport, CostRow
from regard.system import notebook
from regard.system.notebook import NotebookBar, to_html
from regard.system.terminal import in_notebook, plain_console
from regard.types import AttentionMap
from regard.weights.transfer import TransferReport


class Page(HTMLParser):
    """The cells of each table, the text outside of them, and whether every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.cells: list[list[str]] = []
        self.text, self.images, self.open, self.styles = "", 0, [], ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.styles += dict(attrs).get("style") or ""
        self.images += tag == "img"
        if tag == "img":
            return
        self.open.append(tag)
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1] in ("td", "th"):
            self.cells[-1][-1] += data
        else:
            self.text += data


def page_of(value: Any) -> Page:
    html = value._repr_html_()
    page = Page(html)
    assert not re.search(r"color|background", page.styles)  # those of the notebook, dark or light
    assert "<script" not in html
    return page


HOSTILE = "<script>alert(1)</script>\x1b[2J&\"'"


def test_a_table_keeps_rows_alignment_and_caption() -> None:
    table = Table("name", "n", caption="below [b]", title="above")
    table.columns[1].justify = "right"
    table.add_row("a<b", "3", style="bold")
    table.add_row("[c]", "5")
    html = to_html(table)
    page = Page(html)
    assert page.cells == [["name", "n"], ["a<b", "3"], ["[c]", "5"]]
    assert page.text == "abovebelow [b]"
    assert html.count("font-weight:bold") == 1
    assert html.count("text-align:right") == 3


def test_a_long_table_says_what_it_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebook, "MOST_ROWS", 3)
    table = Table("i")
    for i in range(7):
        table.add_row(str(i))
    page = Page(to_html(table))
    assert page.cells == [["i"], ["0"], ["1"], ["2"]]
    assert "4 more" in page.text


def test_a_summary_shows_every_layer_and_the_totals() -> None:
    summary = regard.load("odd-one-out-se").summary(128)
    page = page_of(summary)
    assert [row[1] for row in page.cells[1:]] == [row.name for row in summary.rows]
    assert summary.totals in page.text


def test_costs_show_every_layer() -> None:
    rows = (CostRow(HOSTILE, "Conv", 300, 0, 1.5, 2.0), CostRow("p3", "SE", 100, 50, 0.5, 3.0))
    page = page_of(CostReport(rows, (), {}, (), 64, "cpu"))
    assert page.cells[1][0] == HOSTILE.replace("\x1b", "\\x1b")
    assert page.cells[2][:2] == ["p3", "SE"]


def test_metrics_show_every_class() -> None:
    data = "synthetic:context?train=0&val=3&test=0"
    metrics = regard.val(regard.load("odd-one-out"), data, imgsz=64, workers=0)
    hostile = replace(metrics, per_class=(replace(metrics.per_class[0], name=HOSTILE, labels=7),))
    assert [row[0] for row in page_of(hostile).cells] == ["class", "all", HOSTILE.replace("\x1b", "\\x1b")]
    assert "3 images" in page_of(metrics).text


def test_a_transfer_lists_what_is_new() -> None:
    report = TransferReport(("a",), {}, {}, ("b",), (), {"a": "p3", "b": "p3.<se>"}, {"a": "p3"})
    assert "p3.<se>: 1 new tensors" in page_of(report).text


def _found(**changes: Any) -> Detections:
    boxes = np.array([[10, 20, 80, 70], [5, 5, 25, 45]], np.float32)
    values: dict[str, Any] = {
        "image_size": (89, 113),
        "read_image": lambda: np.zeros((89, 113, 3), np.uint8),
        **changes,
    }
    return Detections(boxes, np.array([0.8, 0.5], np.float32), np.array([0, 1]), {0: HOSTILE, 1: "dog"}, **values)


def test_detections_show_the_image_with_boxes() -> None:
    page = page_of(_found())
    assert page.images == 1
    assert [row[:2] for row in page.cells[1:]] == [[HOSTILE.replace("\x1b", "\\x1b"), "0.800"], ["dog", "0.500"]]
    png = _found()._repr_png_()
    assert png is not None
    shown = cv2.cvtColor(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    height, width = _found().image_size
    factor = SHOWN_SIDE // max(height, width)
    assert factor > 1
    assert shown.shape == (factor * height, factor * width, 3)  # enlarged, so that captions do not cover it
    assert _found().draw().shape == (height, width, 3)


def test_a_large_image_is_shown_smaller() -> None:
    found = _found(image_size=(2003, 1009), read_image=lambda: np.zeros((2003, 1009, 3), np.uint8))
    shown = cv2.imdecode(np.frombuffer(found._repr_png_() or b"", np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (960, 484, 3)


def _gone() -> Any:
    raise regard.RegardError("the file is gone")


@pytest.mark.parametrize("read", [None, _gone])
def test_detections_without_their_image_show_a_table(read: Any) -> None:
    found = _found(read_image=read)
    assert found._repr_png_() is None
    page = page_of(found)
    assert page.images == 0
    assert len(page.cells) == 3


@pytest.mark.parametrize(
    ("kind", "shape", "panels"),
    [("channel", (2, 37), 1), ("spatial", (2, 5, 7), 1), ("elements", (1, 3, 5, 7), 1), ("rows", (1, 3, 1, 5, 7), 3)],
)
def test_an_attention_map_is_an_image(kind: str, shape: tuple[int, ...], panels: int) -> None:
    found = AttentionMap(kind, torch.rand(shape), ((2, 3),))
    page = page_of(found)
    assert page.images == 1
    assert kind in page.text
    image = cv2.imdecode(np.frombuffer(found._repr_png_(), np.uint8), cv2.IMREAD_COLOR)
    white = (image == 255).all(axis=(0, 2))
    assert white.sum() == 4 * (panels - 1)


def test_a_heat_map_is_ordered_by_value() -> None:
    values = np.array([[[3.0, 1.0, 2.0], [0.0, 5.0, 4.0]]])
    lightness = heat_map(values, side=3).sum(axis=-1)
    assert np.array_equal(lightness.ravel().argsort(), values.ravel().argsort())
    assert heat_map(np.full((1, 2, 3), np.nan), side=3).shape == (2, 3, 3)


def test_a_view_is_its_figure() -> None:
    model = regard.insert(regard.load("odd-one-out"), "SE", after="p3")
    view = regard.attend(model, np.zeros((61, 67, 3), np.uint8), layer="p3.se", imgsz=64)
    assert view._repr_png_().startswith(b"\x89PNG")


class Display:
    """IPython as far as it is used: what is shown, and how often it is updated."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def display(self, value: str, display_id: bool = False) -> Display:
        assert display_id
        self.shown.append(value)
        return self

    def update(self, value: str) -> None:
        self.shown.append(value)


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> Display:
    own = Display()
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))  # type: ignore[arg-type]
    module = SimpleNamespace(display=own.display, HTML=str)
    monkeypatch.setitem(sys.modules, "IPython.display", module)  # type: ignore[arg-type]
    return own


def test_a_bar_is_one_display_that_is_not_updated_too_often(display: Display) -> None:
    assert in_notebook()
    bar = NotebookBar()
    for i in range(1, 101):
        bar.show(i, 100, "epoch <1>", "box 0.5")
    assert len(display.shown) == 1
    assert 'value="1" max="100"' in display.shown[0]
    assert "epoch &lt;1&gt;" in display.shown[0]
    bar.close()
    assert display.shown[1:] == [""]


def test_training_shows_the_bar_in_a_notebook(display: Display, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(notebook, "UPDATE_SECONDS", 0.0)
    monkeypatch.setattr(sys, "stdout", lines := io.StringIO())
    monkeypatch.setenv("FORCE_COLOR", "1")  # as ipykernel does, for which rich would draw a bar of its own
    assert not plain_console().is_terminal
    data = "synthetic:context?train=7&val=3&test=0"
    regard.train("odd-one-out", data, folder=tmp_path / "run", epochs=2, batch=4, imgsz=64, workers=0, plots=False)
    assert [re.findall(r'value="(\d)" max="4"', text) for text in display.shown] == [["1"], ["2"], ["3"], ["4"], []]
    assert [line.split()[0] for line in lines.getvalue().splitlines()] == ["epoch", "1/2", "2/2"]


def test_elsewhere_there_is_no_notebook() -> None:
    assert not in_notebook()
