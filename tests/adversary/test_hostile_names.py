"""Names from files are text: for terminals, for rich, for HTML, for figures, for spreadsheets, and for OpenCV."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
from in_process import run

import regard
from regard.cli.messages import show_messages
from regard.config import SaveSettings
from regard.prediction.save import save_detections
from regard.prediction.sources import Frame
from regard.system.terminal import table_text
from regard.types import Detections
from regard.visualize.plots import plot_f1_curve, plot_pr_curve

HOSTILE = (
    "[red]x[/red]",
    "[link=https://example.org]y[/link]",
    "\x1b[2J\x1b]0;owned\x07",
    "a\u202eb",
    "<script>alert(1)</script>",
    "$\\frac$",
    "$$x_{",
    "=cmd|' /C calc'!A0",
    "@SUM(1+1)",
    "%s %n {0}",
)
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="file names are any bytes only there")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A YOLO set whose classes have the hostile names, and a working folder."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(3)
    for split in ("train", "val"):
        (tmp_path / "set" / "images" / split).mkdir(parents=True)
        (tmp_path / "set" / "labels" / split).mkdir(parents=True)
        for i in range(2):
            image = rng.integers(0, 255, (67, 83, 3), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / "set" / "images" / split / f"{i}.png"), image)
            rows = [f"{k} 0.5 0.5 0.{k + 1} 0.3" for k in range(len(HOSTILE) - 1)]
            (tmp_path / "set" / "labels" / split / f"{i}.txt").write_text("\n".join(rows))
    names = ", ".join(json.dumps(name) for name in HOSTILE)
    (tmp_path / "set" / "data.yaml").write_text(f"path: .\ntrain: images/train\nval: images/val\nnames: [{names}]\n")
    return tmp_path / "set"


def test_a_terminal_sees_what_is_written_and_obeys_nothing(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("data", "check", str(data)) == 0
    assert run("val", "odd-one-out", "--data", str(data), "--imgsz", "64") == 2  # the classes differ, which it says
    quick = ("--epochs", "1", "--imgsz", "64", "--workers", "0", "--batch", "2", "-o", "run")
    assert run("train", "odd-one-out", "--data", str(data), *quick) == 0
    assert run("val", "run", "--data", str(data), "--imgsz", "64", "--plots", "plots") == 0
    printed = capsys.readouterr()
    text = printed.out + printed.err
    assert not OBEYED.search(text)
    for name in ("[red]x[/red]", "<script>alert(1)</script>", r"\x1b[2J\x1b]0;owned\x07"):
        assert name in text
    assert len(list(Path("plots").iterdir())) >= 3


def test_other_packages_warnings_are_text_too(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        show = warnings.showwarning
        try:
            show_messages()
            warnings.warn("a name: \x1b[2J", UserWarning, stacklevel=1)
        finally:
            warnings.showwarning = show
    printed = capsys.readouterr().err
    assert "a name: " in printed
    assert not OBEYED.search(printed)


@pytest.mark.parametrize("plot", [plot_pr_curve, plot_f1_curve])
def test_figures_take_no_name_for_a_formula(plot: object, data: Path, tmp_path: Path) -> None:
    assert callable(plot)
    model = regard.train(
        regard.load("odd-one-out"), data, epochs=1, imgsz=64, workers=0, plots=False, verbose=False, folder="run"
    )
    with matplotlib.rc_context({"text.usetex": True}):  # as a matplotlibrc in the working folder may ask
        assert plot(model.metrics, tmp_path / "a.png").stat().st_size > 10_000


def test_tables_hold_no_formulas(tmp_path: Path) -> None:
    count = len(HOSTILE)
    boxes = np.array([[1, 2, 30, 40]], np.float32).repeat(count, 0)
    found = Detections(
        boxes, np.linspace(0.9, 0.3, count, dtype=np.float32), np.arange(count), dict(enumerate(HOSTILE))
    )
    image = np.zeros((50, 60, 3), np.uint8)
    found = replace(found, source="=1+1.png", image_size=(50, 60))
    save_detections([(Frame(image, "=1+1.png"), found)], tmp_path / "found", SaveSettings())
    with (tmp_path / "found" / "detections.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    assert len(rows) == count
    assert {row[0] for row in rows} == {"'=1+1.png"}
    assert [row[2] for row in rows] == [f"'{name}" if name[0] in "=@" else name for name in HOSTILE]
    assert not any(cell[:1] in "=+@\t\r" for row in rows for cell in row if cell)
    assert table_text("-1.5e3") == "-1.5e3"
    assert table_text("-1+cmd") == "'-1+cmd"


@LINUX
def test_names_that_are_not_utf8_are_drawn_read_and_written(tmp_path: Path) -> None:
    """In a process of its own, as OpenCV's bindings crash."""
    odd = os.fsdecode(b"\xff\xfe\x80")
    folder = tmp_path / odd
    folder.mkdir()
    writer = cv2.VideoWriter(str(tmp_path / "video.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 5, (64, 48))
    for i in range(3):
        writer.write(np.full((48, 64, 3), 80 * i, np.uint8))
    writer.release()
    (tmp_path / "video.avi").rename(folder / f"{odd}.avi")
    cv2.imwrite(str(tmp_path / "image.png"), np.full((48, 64, 3), 90, np.uint8))
    for split in ("train", "val"):
        (folder / "images" / split).mkdir(parents=True)
        (folder / "images" / split / f"{odd}.png").write_bytes((tmp_path / "image.png").read_bytes())
        (folder / "labels" / split).mkdir(parents=True)
        (folder / "labels" / split / f"{odd}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (folder / "data.yaml").write_text("path: .\ntrain: images/train\nval: images/val\nnames: [a, b]\n")
    for arguments in (
        ("data", "check", folder / "data.yaml"),
        (
            "predict",
            "odd-one-out",
            folder / f"{odd}.avi",
            folder / "images" / "val",
            "--imgsz",
            "64",
            "-o",
            folder / "o",
        ),
    ):
        command = [sys.executable, "-m", "regard", *map(os.fsencode, arguments)]
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
        assert not OBEYED.search(done.stdout.decode())
    assert cv2.imdecode(np.fromfile(folder / "data_check.jpg", np.uint8), 1) is not None
    assert (folder / "o" / f"{odd}.mp4").stat().st_size > 500


def test_captions_of_any_text_are_drawn() -> None:
    image, boxes = np.zeros((90, 120, 3), np.uint8), np.array([[10, 30, 80, 70]], np.float32)
    for name in (*HOSTILE, "名前", "\ud800", "a\x00b"):
        found = Detections(boxes, np.array([0.8], np.float32), np.array([0]), {0: name})
        assert found.draw(image).any()
