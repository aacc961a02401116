"""docs/settings.md, in both languages, and the typed keyword arguments are what docs/make_settings.py writes."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import mypy.api
import pytest
import typer
from pydantic import Field
from typer.testing import CliRunner

from regard.cli.from_settings import Given, with_settings
from regard.config import Settings, TrainSettings, checked
from regard.config.signature import accepts
from scripts import load_script

CALLS = """
import regard
model = regard.load("yolov5n")
run = regard.train(model, "data", epochs=3, recipe="yolov5", freeze=["p3", 4], callbacks=[regard.Callback()])
regard.train(model, data="data", epochs="3")  # wrong
regard.train(model, "data", epoch=3)  # wrong
regard.train(model, "data", precision="float64")  # wrong
print(run.metrics.ap50, regard.val(model, "data", imgsz=320, save_json="a.json").ap)
regard.validate(model, "data", split=3)  # wrong
regard.predict(model, "a.jpg", conf=0.5, classes=["cat", 3])
regard.predict(model, "a.jpg", classes=0.5)  # wrong
regard.export(model, "a.onnx", nms=True, opset=18, format="onnx")
regard.export(model, "a.onnx", format=3)  # wrong
"""


@pytest.fixture(scope="module")
def make() -> ModuleType:
    return load_script("docs/make_settings.py")


@pytest.mark.parametrize("name", ["settings.md", "settings.zh-TW.md"])
def test_the_page_is_current(make: ModuleType, name: str) -> None:
    page = (make.DOCS / name).read_text(encoding="utf-8")
    assert page == make.page(make.PAGES[name]), "run: python docs/make_settings.py"


def test_every_description_is_translated(make: ModuleType) -> None:
    rows = [line.split(" | ") for line in make.page(make.CHINESE).splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    assert [row[0] for row in rows if not re.search("[\u4e00-\u9fff]", row[-1])] == []


def test_the_typed_keywords_are_current(make: ModuleType) -> None:
    assert make.KEYWORDS.read_text(encoding="utf-8") == make.keywords(), "run: python docs/make_settings.py"


def test_a_new_setting_is_one_line(make: ModuleType) -> None:
    class More(TrainSettings):
        patches: int = Field(3, ge=1, description="Number of patches")

    kind: type[Settings] = More
    assert "| `patches` | `--patches` | `3` | at least 1 | Number of patches |" in make.command_table(kind)
    assert "    patches: int\n" in make.keywords_source({"MoreKeywords": kind})

    @accepts(kind)
    def train(**settings: Any) -> Settings:
        return checked(kind, settings)

    assert inspect.signature(train).parameters["patches"].default == 3
    assert train(patches=5) == More(patches=5)

    app, received = typer.Typer(), list[Any]()

    @app.command()
    @with_settings(settings=kind)
    def command(*, settings: Given) -> None:
        received.append(dict(settings))

    assert CliRunner().invoke(app, ["--patches", "7"]).exit_code == 0
    assert received == [{"patches": 7}]
    assert "Number of patches (at least 1" in CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output


@pytest.mark.slow
def test_type_checkers_know_the_keywords(tmp_path: Path) -> None:
    (tmp_path / "calls.py").write_text(CALLS)
    found, _, _ = mypy.api.run(["--strict", "--cache-dir", str(tmp_path / "cache"), str(tmp_path / "calls.py")])
    wrong = {int(line.split(":")[1]) for line in found.splitlines() if "calls.py" in line and "error" in line}
    assert wrong == {i for i, line in enumerate(CALLS.splitlines(), start=1) if "# wrong" in line}, found
