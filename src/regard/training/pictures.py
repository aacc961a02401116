"""The pictures of a run: a labelled batch, predictions beside labels, the curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.backend import Backend
from regard.config import DetectSettings
from regard.data.draw import draw_boxes
from regard.data.palette import class_colour
from regard.data.record import Record
from regard.evaluate import Metrics
from regard.plots import plot_confusion, plot_f1_curve, plot_pr_curve, plot_training
from regard.prediction import predict
from regard.types import Batch

MOST = 16
"""Images on one picture."""
GAP = 6


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
        height, width = batch.images.shape[2:]
        for i, image in enumerate(batch.images[:MOST].permute(0, 2, 3, 1).contiguous().numpy()):
            chosen = batch.targets.image_index == i
            boxes = batch.targets.boxes_cxcywh[chosen].numpy()
            corners = np.concatenate((boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2), 1)
            class_ids = batch.targets.class_ids[chosen].numpy()
            tiles.append(self._drawn(image, corners * (width, height, width, height), class_ids))
        self._write("labels.jpg", _grid(tiles))

    def predictions(self, backend: Backend, records: Sequence[Record], imgsz: int) -> None:
        """Write labels, and below them predictions at confidence 0.25, for a few images."""
        tops, bottoms = [], []
        step = max(len(records) // (MOST // 2), 1)
        for record in records[::step][: MOST // 2]:
            image = record.image.read()
            found = predict(backend, image, imgsz=imgsz, settings=DetectSettings())
            assert not isinstance(found, list)
            height, width = image.shape[:2]
            centre, half = record.boxes_cxcywh[:, :2], record.boxes_cxcywh[:, 2:] / 2
            corners = np.concatenate((centre - half, centre + half), 1) * (width, height, width, height)
            tops.append(self._drawn(image, corners, record.class_ids))
            bottoms.append(self._drawn(image, found.boxes_xyxy, found.class_ids, found.scores))
        half_row = MOST // 4
        order = [
            tile
            for k in range(0, len(tops), half_row)
            for tile in (*tops[k : k + half_row], *bottoms[k : k + half_row])
        ]
        if order:
            self._write("predictions.jpg", _grid(order, columns=min(half_row, len(tops))))

    def metrics(self, metrics: Metrics) -> None:
        """Write precision against recall, F1 against confidence, and the confusion matrix."""
        plot_pr_curve(metrics, self.folder / "pr_curve.png")
        plot_f1_curve(metrics, self.folder / "f1_curve.png")
        plot_confusion(metrics, self.folder / "confusion.png")

    def results(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write losses and measures over the epochs."""
        columns = list(dict.fromkeys(name for row in rows for name in row if "seconds" not in name and name != "lr"))
        columns = [name for name in columns if not name.startswith("images")]
        plot_training({c: [row.get(c, math.nan) for row in rows] for c in columns}, self.folder / "results.png")

    def _drawn(
        self,
        image: NDArray[np.uint8],
        boxes: NDArray[np.floating],
        class_ids: NDArray[np.int64],
        scores: NDArray[np.float32] | None = None,
    ) -> NDArray[np.uint8]:
        captions = [self.names[int(c)] for c in class_ids]
        if scores is not None:
            captions = [f"{name} {score:.2f}" for name, score in zip(captions, scores, strict=True)]
        return draw_boxes(image, boxes, captions, [class_colour(int(c)) for c in class_ids])

    def _write(self, name: str, image: NDArray[np.uint8]) -> None:
        cv2.imwrite(str(self.folder / name), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def _grid(tiles: Sequence[NDArray[np.uint8]], columns: int = 4) -> NDArray[np.uint8]:
    """Return the tiles, each brought to the size of the first, in rows."""
    height, width = tiles[0].shape[:2]
    rows = -(-len(tiles) // columns)
    sheet = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), 24, dtype=np.uint8)
    for i, tile in enumerate(tiles):
        y, x = divmod(i, columns)
        top, left = y * (height + GAP), x * (width + GAP)
        sheet[top : top + height, left : left + width] = cv2.resize(tile, (width, height), interpolation=cv2.INTER_AREA)
    return sheet
