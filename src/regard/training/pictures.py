"""The pictures of a run: a labelled batch, predictions beside labels, the curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.backend import Backend
from regard.config import DetectSettings
from regard.data.dataset import Sample
from regard.evaluation import Metrics
from regard.prediction import predict
from regard.replacing import replacing
from regard.types import Batch
from regard.visualize.boxes import class_colour, draw_boxes, draw_text
from regard.visualize.plots import plot_confusion, plot_f1_curve, plot_pr_curve, plot_training

MOST = 16
"""Images on one picture."""
COLUMNS = 4
TILE = 400
"""Pixels of an image's long side on a picture."""
GAP = 6
LETTERS = 9.0
"""Pixels that a capital letter of a caption is high."""
GROUND = 24
RESULTS: Mapping[str, str] = MappingProxyType(
    {
        "train/box": "box loss",
        "train/obj": "objectness loss",
        "train/cls": "class loss",
        "val/ap": "AP/average precision",
        "val/ap50": "AP50/average precision",
        "val/ap75": "AP75/average precision",
        "val/precision": "precision/at best F1",
        "val/recall": "recall/at best F1",
        "val/f1": "F1/at best F1",
        "lr": "learning rate",
    }
)
"""Column of the results to curve and panel of the picture; gates share a panel of their own."""


class Pictures:
    """Writes a run's pictures into its folder.

    Args:
        folder: where to.
        names: class names.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.folder, self.names = folder, tuple(names)
        folder.mkdir(parents=True, exist_ok=True)

    def labels(self, batch: Batch) -> None:
        """Write the first images of a training batch with their boxes, as the network sees them."""
        tiles = []
        for i, image in enumerate(batch.images[:MOST].permute(0, 2, 3, 1).contiguous().numpy()):
            chosen = batch.targets.image_index == i
            boxes, class_ids = batch.targets.boxes_cxcywh[chosen].numpy(), batch.targets.class_ids[chosen].numpy()
            tiles.append(self._drawn(image, _corners(boxes), class_ids))
        self._write("labels.jpg", tiles)

    def predictions(self, backend: Backend, records: Sequence[Sample], imgsz: int) -> None:
        """Write a row of labelled images, below it one of what is detected at confidence 0.25, and two such again."""
        step = max(len(records) // (MOST // 2), 1)
        chosen = records[::step][: MOST // 2]
        tiles = []
        for start in range(0, len(chosen), COLUMNS):
            row = chosen[start : start + COLUMNS]
            images = [record.image.read() for record in row]
            blank = [np.full_like(images[0][:1, :1], GROUND)] * (COLUMNS - len(row) if len(chosen) > COLUMNS else 0)
            for image, record in zip(images, row, strict=True):
                labelled = self._drawn(image, _corners(record.boxes_cxcywh), record.class_ids)
                tiles.append(_headed(labelled, "labelled"))
            tiles += blank
            for image in images:
                found = predict(backend, image, imgsz=imgsz, settings=DetectSettings())
                assert not isinstance(found, list)
                size = np.array(image.shape[1::-1] * 2)
                detected = self._drawn(image, found.boxes_xyxy / size, found.class_ids, found.scores)
                tiles.append(_headed(detected, "detected"))
            tiles += blank
        if tiles:
            self._write("predictions.jpg", tiles, columns=min(COLUMNS, len(chosen)))

    def metrics(self, metrics: Metrics) -> None:
        """Write precision against recall, F1 against confidence, and the confusion matrix."""
        plot_pr_curve(metrics, self.folder / "pr_curve.png")
        plot_f1_curve(metrics, self.folder / "f1_curve.png")
        plot_confusion(metrics, self.folder / "confusion.png")

    def results(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write losses, measures, learning rate and gates over the epochs."""
        curves = dict(RESULTS)
        for row in rows:
            curves |= {c: f"{c.removeprefix('gate/')}/gate" for c in row if c.startswith("gate/")}
        table = {curve: [row.get(column, math.nan) for row in rows] for column, curve in curves.items()}
        plot_training({"epoch": [row["epoch"] for row in rows], **table}, self.folder / "results.png")

    def _drawn(
        self,
        image: NDArray[np.uint8],
        corners: NDArray[np.floating],
        class_ids: NDArray[np.int64],
        scores: NDArray[np.float32] | None = None,
    ) -> NDArray[np.uint8]:
        """Return the image at the size of a tile, with boxes given as fractions of it."""
        factor = TILE / max(image.shape[:2])
        width, height = (max(round(side * factor), 1) for side in image.shape[1::-1])
        way = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
        tile = np.asarray(cv2.resize(image, (width, height), interpolation=way), dtype=np.uint8)
        captions = [self.names[int(c)] for c in class_ids]
        if scores is not None:
            captions = [f"{name} {score:.2f}" for name, score in zip(captions, scores, strict=True)]
        colours = [class_colour(int(c)) for c in class_ids]
        return draw_boxes(tile, corners * (width, height, width, height), captions, colours, letter_height=LETTERS)

    def _write(self, name: str, tiles: Sequence[NDArray[np.uint8]], columns: int = COLUMNS) -> None:
        sheet = cv2.cvtColor(_grid(tiles, columns), cv2.COLOR_RGB2BGR)
        _, encoded = cv2.imencode(".jpg", sheet)
        with replacing(self.folder / name) as file:
            file.write(encoded.tobytes())


def _corners(boxes: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return (N, 4) centre and size as (N, 4) left, top, right, bottom."""
    return np.concatenate((boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2), axis=1)


def _headed(tile: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    """Return the tile below a line of text."""
    band = np.full((round(2.4 * LETTERS), tile.shape[1], 3), GROUND, dtype=np.uint8)
    draw_text(band, text, (2, band.shape[0] - round(0.7 * LETTERS)), (230, 230, 230), LETTERS)
    return np.concatenate((band, tile))


def _grid(tiles: Sequence[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Return the tiles in rows, each in the upper left corner of its cell, in the size that it has."""
    columns = min(columns, len(tiles))
    height, width = np.max([tile.shape[:2] for tile in tiles], axis=0)
    rows = -(-len(tiles) // columns)
    sheet = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), GROUND, dtype=np.uint8)
    for i, tile in enumerate(tiles):
        y, x = divmod(i, columns)
        top, left = y * (height + GAP), x * (width + GAP)
        sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return sheet
