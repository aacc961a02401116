"""Detections as files: annotated images and videos, YOLO text, one JSON and one CSV."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePath, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.config import SaveSettings
from regard.drawing import encode_image
from regard.errors import RegardError
from regard.geometry.boxes import xyxy_to_cxcywh
from regard.prediction.films import Frame
from regard.system.files import atomic_write, make_folder, portable_name
from regard.system.prefetch import prefetch
from regard.system.scratch import plain_path, scratch_folder
from regard.system.terminal import table_text
from regard.types import Detections

CSV_COLUMNS = ("source", "class_id", "name", "score", "x1", "y1", "x2", "y2")


def save_detections(
    stream: Iterable[tuple[Frame, Detections]],
    folder: str | Path,
    files: SaveSettings,
) -> list[Path]:
    """Write what `regard.prediction.predict_iter` yields into a folder, frame by frame.

    Sources with the same base name get numbers (``cat.jpg``, ``cat_2.jpg``), so that none replaces another.

    Args:
        stream: frames with their detections.
        folder: created if it does not exist.
        files: which files to write: an annotated image per image and an mp4 per video; ``labels/<name>.txt`` per
            frame in YOLO form (class, then centre and size as fractions), empty where nothing was found; all
            detections, in pixels, as ``detections.json`` and ``detections.csv``.

    Returns:
        The files written.

    Raises:
        RegardError: the folder cannot be written to.
    """
    folder, names = Path(folder), _Names()
    written: list[Path] = []
    records: list[dict[str, Any]] = []
    with _writing(folder):
        make_folder(folder)
    with _Videos(folder) as videos:
        for frame, detections in prefetch(stream):  # the next are found while one is saved
            stem, suffix = names.of(frame)
            with _writing(folder):
                if files.save_images and frame.video:
                    written += videos.add(frame, detections.draw(frame.image), stem)
                elif files.save_images:
                    encoded = encode_image(detections.draw(frame.image), suffix)
                    written.append(_write(folder / f"{stem}{suffix}", encoded))
                if files.save_txt or files.save_conf:
                    name = stem + (f"_{_frame_number(frame)}" if frame.video else "") + ".txt"
                    written.append(_write(folder / "labels" / name, yolo_text(detections, files.save_conf).encode()))
            if files.save_json or files.save_csv:
                records.append(detections.to_dict())
    if files.save_json:
        text = json.dumps(records, ensure_ascii=False, indent=1)
        written.append(_write(folder / "detections.json", _encoded(text)))
    if files.save_csv:
        written.append(_write(folder / "detections.csv", _encoded(_csv_text(records))))
    return written


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Name the folder in errors of the system; those of the images that are read name their own files."""
    try:
        yield
    except OSError as error:
        raise RegardError(f"cannot write here ({error.strerror or error})", file=folder) from error


def yolo_text(detections: Detections, with_score: bool = False) -> str:
    """Write YOLO label lines: class, centre x, centre y, width, height as fractions of the image, and the score."""
    height, width = detections.image_size
    boxes = xyxy_to_cxcywh(detections.boxes_xyxy.astype(np.float64) / (width, height, width, height))
    columns = np.column_stack((boxes, detections.scores)) if with_score else boxes
    rows = zip(detections.class_ids, columns, strict=True)
    return "".join(f"{class_id} {' '.join(f'{value:.6f}' for value in values)}\n" for class_id, values in rows)


def _csv_text(records: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for record in records:
        source = table_text(record["source"])
        for found in record["detections"]:
            name = table_text(found["name"])
            writer.writerow([source, found["class_id"], name, found["score"], *found["box_xyxy"]])
    return text.getvalue()


class _Names:
    """Gives each image or video a unique file name, also on file systems that ignore case."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._of_video: dict[str, str] = {}

    def of(self, frame: Frame) -> tuple[str, str]:
        """Choose (stem, suffix); all frames of a video share a stem."""
        if frame.video:
            if frame.video not in self._of_video:
                self._of_video[frame.video] = self._free(Path(frame.video).stem)
            return self._of_video[frame.video], ".mp4"
        if "://" in frame.source:  # its name may be one that no file can have; that of a file stays that of its labels
            path: PurePath = PurePosixPath(portable_name(PurePosixPath(urlsplit(frame.source).path).name or "image"))
        else:
            path = Path(frame.source)
        suffix = path.suffix.lower()
        return self._free(path.stem or "image"), suffix if suffix in (".jpg", ".jpeg", ".png", ".webp") else ".png"

    def _free(self, stem: str) -> str:
        name, number = stem, 1
        while name.lower() in self._taken:
            number += 1
            name = f"{stem}_{number}"
        self._taken.add(name.lower())
        return name


class _Videos:
    """Writes the frames of one video after another, each to a temporary file until it is complete.

    What an exception or Ctrl-C leaves of a video is kept as ``<name>.part.mp4``, until the whole one is there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: cv2.VideoWriter | None = None
        self._stem, self._frames = "", 0
        self._part = self._plain = folder
        self._scratch = ExitStack()

    def __enter__(self) -> _Videos:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        with self._scratch:
            self._finish(".mp4" if kind is None else ".part.mp4", is_whole=kind is None)

    def add(self, frame: Frame, image: NDArray[np.uint8], stem: str) -> list[Path]:
        """Append a frame; list the path of the video if this is its first frame."""
        is_new = stem != self._stem or self._writer is None
        if is_new:
            self._finish(".mp4")
            height, width = image.shape[:2]
            self._stem, self._frames = stem, 0
            self._part = self._scratch.enter_context(scratch_folder(self._folder)) / "video.mp4"
            self._plain = self._scratch.enter_context(plain_path(self._part))
            self._writer = cv2.VideoWriter(
                str(self._plain), cv2.VideoWriter.fourcc(*"mp4v"), frame.fps, (width, height)
            )
            if not self._writer.isOpened():
                raise OSError(f"OpenCV cannot write a video of {width} x {height} pixels at {frame.fps:g} per second")
        assert self._writer is not None
        self._writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        self._frames += 1
        return [self._folder / f"{stem}.mp4"] if is_new else []

    def _finish(self, suffix: str, *, is_whole: bool = True) -> None:
        """Check that what was written can be read, which OpenCV does not say by itself, and rename it."""
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        with _writing(self._folder), self._scratch:
            reader = cv2.VideoCapture(str(self._plain))
            there = int(reader.get(cv2.CAP_PROP_FRAME_COUNT))
            reader.release()
            if is_whole and there < self._frames:
                raise OSError(f"of {self._frames} frames of {self._stem}.mp4 {max(there, 0)} were written")
            if there > 0:
                os.replace(self._part, self._folder / f"{self._stem}{suffix}")
                if is_whole:
                    (self._folder / f"{self._stem}.part.mp4").unlink(missing_ok=True)


def _frame_number(frame: Frame) -> str:
    return frame.source.rpartition("#")[2]


def _encoded(text: str) -> bytes:
    """Encode text in which file names may have bytes that are not UTF-8; those are escaped, as JSON allows."""
    return text.encode(errors="backslashreplace")


def _write(path: Path, data: bytes) -> Path:
    make_folder(path.parent)
    with atomic_write(path) as file:
        file.write(data)
    return path
