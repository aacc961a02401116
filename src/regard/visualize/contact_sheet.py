"""A contact sheet: a few labelled images of a data set in one image file."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from regard.data.dataset import DetectionDataset, Sample
from regard.drawing import WHITE, class_colour, draw_boxes, encode_image
from regard.errors import RegardError
from regard.geometry.boxes import cxcywh_to_xyxy
from regard.lettering import Colour, draw_text, text_width
from regard.system.files import make_folder, write_file

COLUMNS, ROWS = 5, 4
TILE_WIDTH = 380
GAP = 16
CAPTION = 26
HEADER = 92
LEGEND_CLASSES = 24
"""With more classes than this there is no room for a legend; the captions of the boxes name the classes."""

MARK = b"\xff\xfe\0\x08regard"
"""Comment in every JPEG that is written here, behind its first two bytes."""

SUFFIXES = (".png", ".jpg", ".jpeg")

PAPER: Colour = (22, 24, 29)
MUTED: Colour = (150, 156, 168)

Image = NDArray[np.uint8]


def write_contact_sheet(data: DetectionDataset, file: Path) -> Path | None:
    """Draw up to 20 images of a data set with their boxes and write them as one ``file`` (.png or .jpg).

    The images are taken at equal distances from each split; unreadable ones are left out.

    Returns:
        ``file``, or None if no image can be read and so nothing was written.

    Raises:
        RegardError: the file has another suffix or cannot be written.
    """
    check_suffix(file)
    tiles = _tiles(data)
    if not tiles:
        return None
    try:
        encoded = encode_image(_compose(data, tiles), file.suffix.lower())
        encoded = encoded if file.suffix.lower() == ".png" else encoded[:2] + MARK + encoded[2:]
        make_folder(file.parent)
    except OSError as error:
        raise RegardError(f"cannot write the contact sheet: {error.strerror or error}", file=file) from error
    write_file(file, encoded)
    return file


def check_suffix(file: Path) -> None:
    """Check that the suffix of ``file`` is that of an image format.

    Raises:
        RegardError: it is not.
    """
    if file.suffix.lower() not in SUFFIXES:
        what = f"a contact sheet cannot be written as {file.suffix or 'a file without suffix'}"
        raise RegardError(what, file=file, expected=".png or .jpg")


def _tiles(data: DetectionDataset) -> list[tuple[str, Sample, Image]]:
    """Load the images to show: split, sample and pixels of each."""
    tiles = []
    for split, sample in _choose(data, COLUMNS * ROWS):
        try:
            tiles.append((split, sample, sample.image.read()))
        except RegardError:
            continue
    return tiles


def _choose(data: DetectionDataset, count: int) -> list[tuple[str, Sample]]:
    """Choose up to ``count`` labelled images, the same number from each distinct split if possible."""
    distinct = {id(samples): (split, samples) for split, samples in reversed(list(data.splits.items()))}
    groups = [
        [(split, sample) for sample in samples if len(sample.class_ids)] or [(split, sample) for sample in samples]
        for split, samples in reversed(list(distinct.values()))
    ]
    chosen: list[tuple[str, Sample]] = []
    for position, group in enumerate(groups):
        share = min(len(group), (count - len(chosen)) // (len(groups) - position))
        places = np.linspace(0, len(group) - 1, share).round().astype(int)
        chosen += [group[place] for place in places]
    return chosen


def _compose(data: DetectionDataset, tiles: list[tuple[str, Sample, Image]]) -> Image:
    columns = min(COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    height = _tile_height([image for _, _, image in tiles])
    width = GAP + max(columns, 3) * (TILE_WIDTH + GAP)
    sheet = np.full((HEADER + rows * (height + CAPTION + GAP), width, 3), PAPER, dtype=np.uint8)
    _draw_header(sheet, data)
    for index, (split, sample, image) in enumerate(tiles):
        row, column = divmod(index, columns)
        left = GAP + column * (TILE_WIDTH + GAP)
        top = HEADER + row * (height + CAPTION + GAP)
        sheet[top : top + height, left : left + TILE_WIDTH] = _tile(image, sample, data.names, height)
        boxes = len(sample.class_ids)
        count = f"{boxes} box" if boxes == 1 else f"{boxes} boxes"
        base = top + height + 18
        room = TILE_WIDTH - text_width(count, 9) - 12
        draw_text(sheet, _shorten(f"{split}  {Path(sample.image.name).name}", room), (left, base), WHITE, 9)
        draw_text(sheet, count, (left + TILE_WIDTH - text_width(count, 9), base), MUTED, 9)
    return sheet


def _tile_height(images: list[Image]) -> int:
    """Height that fits most of the images, from 0.6 to 1.2 of the width."""
    shape = float(np.median([image.shape[0] / image.shape[1] for image in images]))
    return round(TILE_WIDTH * min(max(shape, 0.6), 1.2))


def _tile(image: Image, sample: Sample, names: tuple[str, ...], height: int) -> Image:
    """Draw the whole labelled image, centred, as (height, TILE_WIDTH, 3)."""
    scale = min(TILE_WIDTH / image.shape[1], height / image.shape[0])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    boxes = cxcywh_to_xyxy(sample.boxes_cxcywh) * (size * 2)
    colours = [class_colour(int(class_id)) for class_id in sample.class_ids]
    captions = [_caption(int(class_id), names) for class_id in sample.class_ids]
    labelled = draw_boxes(np.asarray(small, dtype=np.uint8), boxes, captions, colours, letter_height=8)
    tile = np.full((height, TILE_WIDTH, 3), (12, 13, 16), dtype=np.uint8)
    left, top = (TILE_WIDTH - size[0]) // 2, (height - size[1]) // 2
    tile[top : top + size[1], left : left + size[0]] = labelled
    return tile


def _caption(class_id: int, names: tuple[str, ...]) -> str:
    """Name of a class, or its number if OpenCV's font lacks the letters of the name."""
    return names[class_id] if names[class_id].isascii() else f"#{class_id}"


def _draw_header(sheet: Image, data: DetectionDataset) -> None:
    counts = ", ".join(f"{split} {len(samples):,}" for split, samples in data.splits.items())
    path = Path(data.source.partition("?")[0])
    title = path.resolve().parent.name if path.stem == "data" else path.name  # .../coco128/data.yaml is "coco128"
    draw_text(sheet, title, (GAP, 40), WHITE, 18)
    draw_text(sheet, f"{data.format}: {counts} images", (GAP + text_width(title, 18) + 24, 40), MUTED, 11)
    if len(data.names) > LEGEND_CLASSES:
        draw_text(sheet, f"{len(data.names)} classes", (GAP, 70), MUTED, 11)
        return
    left = GAP
    for class_id in range(len(data.names)):
        name = _caption(class_id, data.names)
        cv2.rectangle(sheet, (left, 58), (left + 14, 72), class_colour(class_id), cv2.FILLED)
        draw_text(sheet, name, (left + 22, 70), WHITE, 11)
        left += 22 + text_width(name, 11) + 24


def _shorten(text: str, room: int) -> str:
    """Cut the end of ``text`` so that it fits into ``room`` pixels."""
    if text_width(text, 9) <= room:
        return text
    while text and text_width(text + "...", 9) > room:
        text = text[:-1]
    return text + "..."
