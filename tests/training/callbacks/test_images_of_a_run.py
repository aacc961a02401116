"""The images of a run keep their shape, every caption has a readable size, nothing is left out."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from regard.data.dataset import Sample
from regard.drawing import class_colour
from regard.graph.detector import Detector
from regard.training.callbacks import images
from regard.training.callbacks.images import GAP, GROUND, TILE, draw_batch, draw_predictions, plot_results
from regard.types import Batch, Targets


class Blank:
    """An image of one grey."""

    def __init__(self, height: int, width: int) -> None:
        self.name, self.size = f"{height}x{width}", (height, width)

    def read(self) -> NDArray[np.uint8]:
        return np.full((*self.size, 3), 200, dtype=np.uint8)


def record(height: int, width: int) -> Sample:
    return Sample(Blank(height, width), np.array([[0.5, 0.5, 0.4, 0.4]]), np.array([1]), 0)


def read(path: Path) -> NDArray[np.uint8]:
    assert not list(path.parent.glob(".*"))
    return np.asarray(cv2.imread(str(path)), dtype=np.uint8)[:, :, ::-1]


def near(pixels: NDArray[np.uint8], colour: tuple[int, ...]) -> NDArray[np.bool_]:
    return np.asarray(np.abs(pixels.astype(int) - colour).max(axis=-1) < 40)


@pytest.mark.parametrize(("count", "grid"), [(1, (1, 1)), (5, (2, 4)), (19, (4, 4))])
def test_labels_show_the_batch_with_its_boxes(tmp_path: Path, count: int, grid: tuple[int, int]) -> None:
    boxes = torch.tensor([[0.5, 0.5, 0.5, 0.5]])
    targets = Targets(torch.tensor([0]), torch.tensor([1]), boxes)
    batch = Batch(torch.full((count, 3, 32, 32), 200, dtype=torch.uint8), targets, tuple(range(count)), count)
    draw_batch(batch, ["a", "b"], tmp_path / "labels.jpg")
    sheet = read(tmp_path / "labels.jpg")
    rows, columns = grid
    assert sheet.shape == (rows * (TILE + GAP) - GAP, columns * (TILE + GAP) - GAP, 3)
    colour = class_colour(1)
    assert near(sheet[TILE // 4, TILE // 4 + 40 : TILE * 3 // 4], colour).all()  # upper edge, right of the caption
    assert near(sheet[TILE // 4 + 20 : TILE * 3 // 4, TILE * 3 // 4], colour).all()  # right edge
    assert near(sheet[TILE // 2, TILE // 2], (200, 200, 200)).all()
    if count > 1:
        assert not near(sheet[:TILE, TILE + GAP : 2 * TILE], colour).any()  # the second image has no box


def test_images_of_all_shapes_keep_theirs(tmp_path: Path, model: Detector) -> None:
    records = [record(60, 120), record(120, 60), record(80, 80)]
    draw_predictions(model, records, ["a", "b"], 64, tmp_path / "predictions.jpg")
    sheet = read(tmp_path / "predictions.jpg")
    tile_height = (sheet.shape[0] - GAP) // 2
    assert sheet.shape[1] == 3 * (TILE + GAP) - GAP
    tall = sheet[:tile_height, TILE + GAP : 2 * TILE + GAP]
    inside = tall[:, : TILE // 2]
    assert near(inside[-20:, :], (200, 200, 200)).all()
    assert near(tall[:, TILE // 2 + 8 :], (GROUND, GROUND, GROUND)).all()  # twice as high as wide
    wide = sheet[:tile_height, :TILE]
    assert near(wide[-100:], (GROUND, GROUND, GROUND)).all()
    assert near(sheet[:tile_height], class_colour(1)).sum() > 1000
    assert not near(sheet[tile_height:], class_colour(1)).any()  # an untrained model detects nothing at 0.25


def test_of_many_images_some_are_shown(tmp_path: Path, model: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[NDArray[np.uint8]] = []

    def grid(tiles: list[NDArray[np.uint8]], _columns: int) -> NDArray[np.uint8]:
        shown.extend(tiles)
        return tiles[0]

    monkeypatch.setattr(images, "_grid", grid)
    draw_predictions(model, [record(40, 40)] * 37, ["a", "b"], 64, tmp_path / "predictions.jpg")
    assert len(shown) == 16
    shown.clear()
    draw_predictions(model, [record(40, 40)] * 6, ["a", "b"], 64, tmp_path / "predictions.jpg")
    assert len(shown) == 16  # two rows of four, two of two and two blanks each
    shown.clear()
    draw_predictions(model, [], ["a", "b"], 64, tmp_path / "predictions.jpg")
    assert shown == []


def test_curves_have_panels_by_meaning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables: list[dict[str, list[float]]] = []
    monkeypatch.setattr(images, "plot_training", lambda table, _path: tables.append(table))
    rows = [
        {"epoch": e, "train/dfl": e, "val/ap": e / 4, "gate/p4.se": e / 8, "train_seconds": 3.0} for e in (1.0, 2.0)
    ]
    plot_results(rows, tmp_path / "results.png")
    (table,) = tables
    assert table["AP/average precision"] == [0.25, 0.5]
    assert table["dfl loss"] == [1.0, 2.0]
    assert table["p4.se/gate"] == [0.125, 0.25]
    assert not any("seconds" in name for name in table)
