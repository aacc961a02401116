"""Every image is drawn for few, many, one and no classes, and shows the data it was given."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
from numpy.typing import NDArray

from regard.evaluation import ClassMetrics, Curves, Metrics
from regard.visualize.plots import plot_confusion, plot_f1_curve, plot_pr_curve, plot_training

BLUE_BGR = (178, 114, 0)


def _metrics(classes: int, labelled: int) -> Metrics:
    """A detector whose precision falls from 1 to 0 along recall, for the first ``labelled`` of ``classes``."""
    confidence, recall = np.linspace(0, 1, 1001), np.linspace(0, 1, 101)
    known = np.where(np.arange(classes) < labelled, 1.0, np.nan)[:, None]
    f1 = np.where(np.arange(classes) < labelled, 0.5, np.nan)[:, None] * np.ones(1001)
    names = [f"class {i}" for i in range(classes)]
    return Metrics(
        ap=0.4,
        ap50=0.5,
        ap75=0.4,
        ap_small=math.nan,
        ap_medium=0.4,
        ap_large=0.5,
        precision=0.5,
        recall=0.5,
        f1=0.5,
        confidence=0.5,
        images=7,
        per_class=tuple(ClassMetrics(name, 5 * (i < labelled), 0.4, 0.5, 0.5, 0.5) for i, name in enumerate(names)),
        confusion=3 * np.eye(classes + 1, dtype=np.int64),
        curves=Curves(confidence, known * confidence, known * (1 - confidence), f1, recall, known * (1 - recall)),
    )


def _read(path: Path) -> NDArray[np.uint8]:
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # nothing half-written next to it
    return np.asarray(cv2.imread(str(path)), dtype=np.uint8)


@pytest.mark.parametrize(("classes", "labelled"), [(0, 0), (2, 0), (1, 1), (3, 2), (7, 7), (80, 71)])
@pytest.mark.parametrize("plot", [plot_pr_curve, plot_f1_curve])
def test_curves_are_drawn(plot: object, classes: int, labelled: int, tmp_path: Path) -> None:
    assert callable(plot)
    path = plot(_metrics(classes, labelled), tmp_path / "new" / "curve.png")
    drawn = _read(path)
    assert min(drawn.shape[:2]) > 600
    mean_line = (np.abs(drawn.astype(int) - BLUE_BGR).sum(axis=2) < 12).sum()
    assert (mean_line > 1000) == (labelled > 0)


@pytest.mark.parametrize("classes", [0, 1, 3, 12, 80])
def test_confusion_is_drawn(classes: int, tmp_path: Path) -> None:
    diagonal = _read(plot_confusion(_metrics(classes, classes), tmp_path / "a" / "confusion.png"))
    nothing = replace(_metrics(classes, classes), confusion=np.zeros((classes + 1, classes + 1), dtype=np.int64))
    empty = _read(plot_confusion(nothing, tmp_path / "b" / "confusion.png"))
    assert diagonal.shape == empty.shape
    assert diagonal.mean() < empty.mean()


def test_training_curves_are_drawn(tmp_path: Path) -> None:
    falling = [1 / (epoch + 1) for epoch in range(11)]
    table = {"epoch": [*range(1, 12)], "train/box": falling, "val/box": falling, "AP": falling, "lr": [math.nan] * 11}
    drawn = _read(plot_training(table, tmp_path / "a" / "results.png"))
    assert drawn.shape[1] == pytest.approx(2 * 2.6 * 200, abs=2)  # panels for box and AP; lr is never known


@pytest.mark.parametrize("table", [{}, {"epoch": [1.0], "train/box": [0.5]}, {"AP": [0.1, math.nan, 0.3]}])
def test_short_tables_are_drawn(table: dict[str, list[float]], tmp_path: Path) -> None:
    assert _read(plot_training(table, tmp_path / "a" / "results.png")).size


def test_the_users_own_style_is_left_alone(tmp_path: Path) -> None:
    with matplotlib.rc_context({"font.size": 17.0}):
        plot_pr_curve(_metrics(3, 3), tmp_path / "curve.png")
        assert matplotlib.rcParams["font.size"] == 17
