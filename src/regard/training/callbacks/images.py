"""The images of a run: a labelled batch, predictions next to labels, and curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.config import PREDICT
from regard.data.dataset import Sample
from regard.drawing import class_colour, draw_boxes, encode_image
from regard.geometry.boxes import cxcywh_to_xyxy
from regard.lettering import draw_text
from regard.prediction import predict
from regard.system.files import write_file
from regard.training.callbacks.base import Callback
from regard.training.callbacks.events import BatchEnd, RunEnd, RunStart
from regard.types import Batch, Predictor
from regard.visualize.plots import plot_metrics, plot_training

MOST = 16
"""Largest number of images on one sheet."""
COLUMNS = 4
TILE = 400
"""Long side of an image on a sheet, in pixels."""
GAP = 6
LETTERS = 9.0
"""Height of a capital letter of a caption, in pixels."""
GROUND = 24
PANELS: Mapping[str, str] = MappingProxyType(
    {
        "val/ap": "AP/average precision",
        "val/ap50": "AP50/average precision",
        "val/ap75": "AP75/average precision",
        "val/precision": "precision/at best F1",
        "val/recall": "recall/at best F1",
        "val/f1": "F1/at best F1",
        "lr": "learning rate",
    }
)
"""Column of the results to curve and panel of the figure; each loss has a panel, all gates share one."""


class Images(Callback):
    """Draws the first batch, the curves of the run, and what the best weights detect."""

    def on_run_start(self, event: RunStart) -> None:
        """Remember what is drawn at the end."""
        self._folder, self._names, self._imgsz = event.folder, event.data.names, event.settings.imgsz
        self._samples = event.data.splits["val"]

    def on_batch_end(self, event: BatchEnd) -> None:
        """Draw the first batch."""
        if event.epoch == event.step == 1:
            draw_batch(event.batch, self._names, self._folder / "labels.jpg")

    def on_run_end(self, event: RunEnd) -> None:
        """Draw curves and predictions."""
        if event.rows:
            plot_results(event.rows, self._folder / "results.png")
        plot_metrics(event.metrics, self._folder)
        draw_predictions(event.model, self._samples, self._names, self._imgsz, self._folder / "predictions.jpg")


def draw_batch(batch: Batch, names: Sequence[str], file: Path) -> None:
    """Draw the first images of a training batch with their boxes, as the network sees them."""
    tiles = []
    for i, image in enumerate(batch.images[:MOST].permute(0, 2, 3, 1).contiguous().numpy()):
        chosen = batch.targets.image_index == i
        boxes, class_ids = batch.targets.boxes_cxcywh[chosen].numpy(), batch.targets.class_ids[chosen].numpy()
        tiles.append(_drawn(image, cxcywh_to_xyxy(boxes), class_ids, names))
    _write(file, tiles)


def draw_predictions(
    predictor: Predictor, samples: Sequence[Sample], names: Sequence[str], imgsz: int, file: Path
) -> None:
    """Draw a row of labelled images, below it one of what is detected at confidence 0.25, and two more such rows."""
    step = max(len(samples) // (MOST // 2), 1)
    chosen = samples[::step][: MOST // 2]
    tiles = []
    for start in range(0, len(chosen), COLUMNS):
        row = chosen[start : start + COLUMNS]
        images = [sample.image.read() for sample in row]
        blank = [np.full_like(images[0][:1, :1], GROUND)] * (COLUMNS - len(row) if len(chosen) > COLUMNS else 0)
        for image, sample in zip(images, row, strict=True):
            labelled = _drawn(image, cxcywh_to_xyxy(sample.boxes_cxcywh), sample.class_ids, names)
            tiles.append(_headed(labelled, "labelled"))
        tiles += blank
        for image in images:
            found = predict(predictor, image, imgsz=imgsz, settings=PREDICT)
            assert not isinstance(found, list)
            size = np.array(image.shape[1::-1] * 2)
            detected = _drawn(image, found.boxes_xyxy / size, found.class_ids, names, found.scores)
            tiles.append(_headed(detected, "detected"))
        tiles += blank
    if tiles:
        _write(file, tiles, columns=min(COLUMNS, len(chosen)))


def plot_results(rows: Sequence[Mapping[str, float]], file: Path) -> None:
    """Plot losses, metrics, learning rate and gates over the epochs."""
    columns = dict.fromkeys(column for row in rows for column in row)
    losses = {column: f"{column.removeprefix('train/')} loss" for column in columns if column.startswith("train/")}
    gates = {column: f"{column.removeprefix('gate/')}/gate" for column in columns if column.startswith("gate/")}
    curves = {**losses, **PANELS, **gates}
    table = {curve: [row.get(column, math.nan) for row in rows] for column, curve in curves.items()}
    plot_training({"epoch": [row["epoch"] for row in rows], **table}, file)


def _drawn(
    image: NDArray[np.uint8],
    corners: NDArray[np.floating],
    class_ids: NDArray[np.int64],
    names: Sequence[str],
    scores: NDArray[np.float32] | None = None,
) -> NDArray[np.uint8]:
    """Scale the image to the size of a tile and draw boxes, given as fractions of it."""
    factor = TILE / max(image.shape[:2])
    width, height = (max(round(side * factor), 1) for side in image.shape[1::-1])
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    tile = np.asarray(cv2.resize(image, (width, height), interpolation=way), dtype=np.uint8)
    captions = [names[int(c)] for c in class_ids]
    if scores is not None:
        captions = [f"{name} {score:.2f}" for name, score in zip(captions, scores, strict=True)]
    colours = [class_colour(int(c)) for c in class_ids]
    return draw_boxes(tile, corners * (width, height, width, height), captions, colours, letter_height=LETTERS)


def _write(file: Path, tiles: Sequence[NDArray[np.uint8]], columns: int = COLUMNS) -> None:
    encoded = encode_image(_grid(tiles, columns), ".jpg")
    write_file(file, encoded)


def _headed(tile: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    """Put a line of text above a tile."""
    band = np.full((round(2.4 * LETTERS), tile.shape[1], 3), GROUND, dtype=np.uint8)
    draw_text(band, text, (2, band.shape[0] - round(0.7 * LETTERS)), (230, 230, 230), LETTERS)
    return np.concatenate((band, tile))


def _grid(tiles: Sequence[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Arrange the tiles in rows, each at its own size in the upper left corner of its cell."""
    columns = min(columns, len(tiles))
    height, width = np.max([tile.shape[:2] for tile in tiles], axis=0)
    rows = -(-len(tiles) // columns)
    sheet = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), GROUND, dtype=np.uint8)
    for i, tile in enumerate(tiles):
        y, x = divmod(i, columns)
        top, left = y * (height + GAP), x * (width + GAP)
        sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return sheet
