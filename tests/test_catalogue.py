"""The generated page lists every module as the code has it now; only its times may be older."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from regard.nn.attention import ATTENTION

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_catalogue", DOCS / "make_catalogue.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _table(page: str) -> dict[str, list[str]]:
    """Return the cells of each module's line, by the name in the first."""
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    cells = [line.strip("| ").split(" | ") for line in lines]
    return {row[0].strip("`"): row for row in cells}


@pytest.mark.parametrize("name", ATTENTION)
def test_the_line_of_a_module_is_up_to_date(maker: ModuleType, name: str) -> None:
    shown = _table((DOCS / "catalogue.md").read_text(encoding="utf-8")).get(name, [])
    assert shown[: len(maker.HEADINGS)] == maker.row(name), "run: python docs/make_catalogue.py"


def test_the_lines_of_the_blocks_are_up_to_date(maker: ModuleType) -> None:
    shown = _table((DOCS / "catalogue.md").read_text(encoding="utf-8"))
    for name in maker.BLOCKS:
        assert shown.get(name, [])[: len(maker.BLOCK_HEADINGS)] == maker.block_row(name), "run: docs/make_catalogue.py"


def test_the_page_has_no_line_too_many_and_a_small_image_for_each(maker: ModuleType) -> None:
    page = (DOCS / "catalogue.md").read_text(encoding="utf-8")
    assert set(_table(page)) == {*ATTENTION, *maker.BLOCKS}
    for name in ATTENTION:
        image = maker.IMAGES / f"{name}.png"
        assert f"({image.relative_to(DOCS)})" in page or f'"{image.relative_to(DOCS)}"' in page
        assert 500 < image.stat().st_size < 40_000, name


def test_the_same_module_gives_the_same_image(maker: ModuleType, tmp_path: Path) -> None:
    for i in range(2):
        maker.draw("SelfAttention", ATTENTION["SelfAttention"], tmp_path / f"{i}.png")
    assert (tmp_path / "0.png").read_bytes() == (tmp_path / "1.png").read_bytes()


def test_times_come_from_the_newest_measurement(
    maker: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maker, "RESULTS", tmp_path)
    assert maker.newest_times() == ({}, "")
    for day, milliseconds in (("2026-01-02", 1.23456), ("2026-01-01", 9.0)):
        small = {"name": "SE", "model": "yolov5s", "level": "P3", "forward_ms": milliseconds}
        rows = [small, small | {"model": "yolov5n", "forward_ms": 5.0}, small | {"level": "P4", "forward_ms": 123.4}]
        measured = {"rows": rows, "about": "One thread."}
        (tmp_path / f"attention-{day}.json").write_text(json.dumps(measured))
    times, about = maker.newest_times()
    assert times == {("SE", "P3"): "1.2", ("SE", "P4"): "123"}
    assert "results/attention-2026-01-02.md" in about
    assert about.endswith("One thread.")
