"""Detections as files: annotated images and videos, cut-out objects, YOLO text, one JSON and one CSV."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath, PurePosixPath
from urllib.parse import urlsplit

import numpy as np

from regard.config import SaveSettings
from regard.detections import Detections
from regard.drawing import encode_image
from regard.geometry.boxes import xyxy_to_cxcywh
from regard.prediction.films import Frame
from regard.prediction.tables import Tables
from regard.prediction.videos import Videos
from regard.system.files import portable_name
from regard.system.outputs import Outputs
from regard.system.prefetch import prefetch

LONGEST_NAME = 100
"""Characters of a class name that are kept in the name of a folder."""


def save_detections(
    stream: Iterable[tuple[Frame, Detections]],
    folder: str | Path,
    files: SaveSettings,
) -> list[Path]:
    """Write what `regard.prediction.predict_iter` yields into a folder, frame by frame.

    Sources with the same base name get numbers (``cat.jpg``, ``cat_2.jpg``), so that none replaces another. A file
    that no earlier prediction wrote there is never replaced.

    Args:
        stream: frames with their detections.
        folder: created if it does not exist.
        files: which files to write: an annotated image per image and an mp4 per video; ``labels/<name>.txt`` per
            frame in YOLO form (class, then centre and size as fractions), empty where nothing was found; each detection
            cut out as ``crops/<class>/<name>_<number>``; all detections, in pixels, as ``detections.json`` and
            ``detections.csv``, which grow as ``detections.part.*`` until the last frame is done.

    Returns:
        The files written.

    Raises:
        RegardError: the folder cannot be written to, or a file in it would be replaced.
    """
    outputs, names, crops = Outputs(Path(folder)), _Names(), _CropFolders()
    with Tables(outputs, json_too=files.save_json, csv_too=files.save_csv) as tables, Videos(outputs) as videos:
        for frame, detections in prefetch(stream):  # the next are found while one is saved
            stem, suffix = names.of(frame)
            with outputs.errors():
                if files.save_images and frame.video:
                    videos.add(frame, detections.draw(frame.image), stem)
                elif files.save_images:
                    encoded = encode_image(detections.draw(frame.image), suffix)
                    outputs.write(outputs.folder / f"{stem}{suffix}", encoded, frame.source)
                name = stem + (f"_{frame.number}" if frame.video else "")
                if files.save_txt or files.save_conf:
                    text = yolo_text(detections, files.save_conf).encode()
                    outputs.write(outputs.folder / "labels" / f"{name}.txt", text)
                if files.save_crop:
                    places = crops.of(detections.names)
                    _save_crops(outputs, places, name, ".jpg" if frame.video else suffix, frame, detections)
                tables.add(detections)
    return outputs.written


def _save_crops(
    outputs: Outputs, places: Mapping[int, str], name: str, suffix: str, frame: Frame, detections: Detections
) -> None:
    crops = zip(detections.class_ids.tolist(), detections.crop(frame.image), strict=True)
    for number, (class_id, crop) in enumerate(crops):
        folder = outputs.folder / "crops" / places.get(class_id, str(class_id))
        outputs.write(folder / f"{name}_{number}{suffix}", encode_image(crop, suffix), frame.source)


def yolo_text(detections: Detections, with_score: bool = False) -> str:
    """Write YOLO label lines: class, centre x, centre y, width, height as fractions of the image, and the score."""
    height, width = detections.image_size
    boxes = xyxy_to_cxcywh(detections.boxes_xyxy.astype(np.float64) / (width, height, width, height))
    columns = np.column_stack((boxes, detections.scores)) if with_score else boxes
    rows = zip(detections.class_ids, columns, strict=True)
    return "".join(f"{class_id} {' '.join(f'{value:.6f}' for value in values)}\n" for class_id, values in rows)


class _CropFolders:
    """Gives each class a folder, also where names differ in case or in characters that file systems do not accept."""

    def __init__(self) -> None:
        self._known: dict[tuple[tuple[int, str], ...], dict[int, str]] = {}

    def of(self, names: Mapping[int, str]) -> Mapping[int, str]:
        """Choose the folders of all classes by their ids, so that they are the same for all images and runs."""
        key = tuple(sorted(names.items()))
        if key not in self._known:
            shown = {id_: name.encode(errors="backslashreplace").decode()[:LONGEST_NAME] for id_, name in key}
            folders = _Names()
            self._known[key] = {id_: folders.free(portable_name(name)) for id_, name in shown.items()}
        return self._known[key]


class _Names:
    """Gives each image or video a unique file name, also on file systems that ignore case."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._of_video: dict[str, str] = {}

    def of(self, frame: Frame) -> tuple[str, str]:
        """Choose (stem, suffix); all frames of a video share a stem."""
        if frame.video:
            if frame.video not in self._of_video:
                self._of_video[frame.video] = self.free(_path_of(frame.video).stem)
            return self._of_video[frame.video], ".mp4"
        path, number = _path_of(frame.source), ""
        if frame.number is not None:  # a page of a file
            path, number = _path_of(frame.source.rpartition("#")[0]), f"_{frame.number}"
        suffix = path.suffix.lower()
        return self.free((path.stem or "image") + number), suffix if suffix in (
            ".jpg",
            ".jpeg",
            ".png",
            ".webp",
        ) else ".png"

    def free(self, stem: str) -> str:
        """Add a number to a name that is taken."""
        name, number = stem, 1
        while name.lower() in self._taken:
            number += 1
            name = f"{stem}_{number}"
        self._taken.add(name.lower())
        return name


def _path_of(source: str) -> PurePath:
    """Path of a source; of an address, with a name that every system accepts: that of a file stays as it is."""
    if "://" not in source:
        return Path(source)
    address = urlsplit(source)
    return PurePosixPath(portable_name(PurePosixPath(address.path).name or "image"))
