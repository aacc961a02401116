"""Tables and text files of boxes (TensorFlow, Open Images, RetinaNet, VIA; Keras-YOLO, DOTA, KITTI), and CVAT's XML."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from regard.data.files import split_in
from regard.data.formats.assemble import Entry, Shape
from regard.data.formats.foreign_json import UNNAMED, via_box, via_class
from regard.data.formats.labels import Box
from regard.data.formats.reading import Reading, around, corner_size, corners, number, reject_line, size_of
from regard.errors import RegardError
from regard.system.loaders import parse_csv, parse_json, read_text
from regard.system.xml import read_xml

IMAGE_COLUMNS = ("filename", "filepath", "file", "image", "imageid", "imagename", "imagepath", "img", "imgname", "path")
CLASS_COLUMNS = ("class", "classname", "label", "labelname", "category", "categoryname", "name", "classid", "labels")
CORNER_COLUMNS = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("x1", "y1", "x2", "y2"),
    ("x0", "y0", "x1", "y1"),
    ("left", "top", "right", "bottom"),
    ("xtl", "ytl", "xbr", "ybr"),
)
SIZED_COLUMNS = (
    ("bboxx", "bboxy", "bboxwidth", "bboxheight"),
    ("bboxx", "bboxy", "bboxw", "bboxh"),
    *((x, y, w, h) for x, y in (("x", "y"), ("xmin", "ymin"), ("left", "top")) for w, h in ("wh", ("width", "height"))),
)
"""Names of columns, in lower case without anything but letters and digits."""

_N = r"-?[\d.]+"
_SUFFIX = r"\.(?:jpe?g|png|bmp|tiff?|webp|gif)"
HEADERLESS = (
    (re.compile(rf"(?i)[^,;\t]+{_SUFFIX}[,;\t](-?[\d.]*[,;\t]){{4}}[^,;\t]*"), "image,x1,y1,x2,y2,class"),
    (re.compile(rf"(?i)[^,]*(,{_N}){{4}},[^,]+{_SUFFIX},\d+,\d+"), "class,x,y,w,h,image,imagewidth,imageheight"),
)
"""First rows of tables without a header, those of RetinaNet and of Make Sense, and their columns."""

_HINT = re.compile(r"(?i)x_?min|\bx1\b|\bxtl\b|bbox|shape_attributes|\bleft\b")

_VISDRONE = (
    *("pedestrian", "people", "bicycle", "car", "van", "truck"),
    *("tricycle", "awning-tricycle", "bus", "motor", "others"),
)


def is_table(text: str) -> bool:
    """Check for the header of a table of boxes, or for the first row of one without a header."""
    line = text[:4096].partition("\n")[0].strip()
    return bool(_HINT.search(line) or _headerless(line) or missing_columns(line) == "")


def missing_columns(line: str) -> str:
    """Which columns the header of a table lacks to be one of boxes, in words; "" if it has all that are needed."""
    header = _columns(line.split(_delimiter(line)))
    lacks = [] if set(header) & set(IMAGE_COLUMNS) else ["none of images, such as filename"]
    lacks += [] if _has_box(header) else ["none of boxes, such as xmin, ymin, xmax, ymax, or x, y, width, height"]
    return "; ".join(lacks)


def _delimiter(line: str) -> str:
    return max(",;\t", key=line.count)


def _columns(cells: Iterable[str]) -> list[str]:
    return [re.sub(r"[^a-z0-9]", "", cell.lower()) for cell in cells]


def _has_box(header: Sequence[str]) -> bool:
    known = (*CORNER_COLUMNS, *SIZED_COLUMNS, ("bbox",), ("regionshapeattributes",))
    return any(set(columns) <= set(header) for columns in known)


def _headerless(line: str) -> str | None:
    return next((columns for pattern, columns in HEADERLESS if pattern.fullmatch(line)), None)


def table(file: Path, reading: Reading) -> None:
    """Read a CSV file with one box per row; coordinates are fractions if none of the file is above 1, else pixels.

    Raises:
        RegardError: its header has no column of images, or none of boxes.
    """
    text = read_text(file)
    first = text.partition("\n")[0].strip()
    rows = parse_csv(text, file, _delimiter(first))
    columns = _headerless(first)
    header = columns.split(",") if columns else _columns(rows[0])
    rows = [[], *rows] if columns else rows
    lacks = missing_columns(",".join(header))
    if lacks:
        raise RegardError(f"its columns are {first:.200}: {lacks}", file=file, line=1)
    found = {kind: next((name for name in names if name in header), "") for kind, names in _KINDS.items()}
    descriptions = _descriptions(file) if found["class"] == "labelname" else {}
    entries: dict[str, Entry] = {}
    largest = 0.0
    for line, cells in enumerate(rows[1:], 2 if rows[0] else 1):
        row = dict(zip(header, (cell.strip() for cell in cells), strict=False))
        if not any(row.values()):
            continue
        with reading.item(file, line=line):
            name = row[found["image"]]
            if name not in entries:
                split = split_in(row.get("split", "") or row.get("set", "")) or ""
                entries[name] = Entry(file, name, size=_row_size(row), split=split)
                reading.entries.append(entries[name])
            box = _row_box(row)
            if box is not None:
                largest = max(largest, *box)
                stated = _row_class(row, found["class"])
                crowd = row.get("isgroupof") == "1"
                entries[name].shapes.append(Shape(descriptions.get(stated, stated), box, line=line, crowd=crowd))
    if 0 < largest <= 1:
        for entry in entries.values():
            entry.scale = 1.0


_KINDS = {"image": IMAGE_COLUMNS, "class": CLASS_COLUMNS}


def _row_class(row: Mapping[str, str], column: str) -> str:
    if row.get("regionattributes"):
        return via_class(parse_json(row["regionattributes"], None))
    return row.get(column) or UNNAMED


def _row_size(row: Mapping[str, str]) -> tuple[int, int] | None:
    """Size of the image; "width" is that of the box if no column states a corner in another way."""
    if any(key in row for key in ("imagewidth", "imgwidth")):
        return size_of(row.get("imageheight", row.get("imgheight")), row.get("imagewidth", row.get("imgwidth")))
    is_image = any(set(columns) <= set(row) for columns in CORNER_COLUMNS) or "bbox" in row
    return size_of(row.get("height"), row.get("width")) if is_image else None


def _row_box(row: Mapping[str, str]) -> Box | None:
    """Box of a row; None if its cells are empty, for an image without objects."""
    if "regionshapeattributes" in row:
        shape = parse_json(row["regionshapeattributes"] or "{}", None)
        return via_box(shape) if shape else None
    if "bbox" in row:
        values: list[Any] = re.findall(r"[^\s,\[\]()]+", row["bbox"])
        return corner_size(*values) if values else None
    for columns in (*CORNER_COLUMNS, *SIZED_COLUMNS):
        if all(column in row for column in columns):
            values = [row[column] for column in columns]
            return (corner_size if columns in SIZED_COLUMNS else corners)(*values) if any(values) else None
    raise ValueError("the row has too few columns")


def _descriptions(file: Path) -> dict[str, str]:
    """Names of Open Images' classes, from class-descriptions*.csv next to the table."""
    found = next(iter(sorted(file.parent.glob("*class-descriptions*.csv"))), None)
    rows = parse_csv(read_text(found), found) if found else ()
    return {row[0]: row[1] for row in rows if len(row) > 1}


def keras_yolo(file: Path, reading: Reading) -> None:
    """Read lines of an image and its boxes, each ``left,top,right,bottom,class`` in pixels."""
    for line, text in _lines(file):
        words = text.split()
        first = next((i for i, word in enumerate(words) if word.count(",") == 4), len(words))
        entry = Entry(file, " ".join(words[:first]))
        reading.entries.append(entry)
        for word in words[first:]:
            with reading.item(file, line=line):
                *box, name = word.split(",")
                entry.shapes.append(Shape(name, corners(*box), line=line))


def dota(file: Path, reading: Reading) -> None:
    """Read DOTA's quadrilaterals of one image: eight coordinates in pixels, class, difficulty."""
    entry = Entry(file, file.stem)
    reading.entries.append(entry)
    for line, text in _lines(file):
        words = text.split()
        if words[0].startswith(("imagesource:", "gsd:")):
            continue
        with reading.item(file, line=line):
            box = around(list(zip(words[:8:2], words[1:8:2], strict=True)))
            entry.shapes.append(Shape(words[8], box, line=line))


def kitti(file: Path, reading: Reading) -> None:
    """Read KITTI's objects of one image: type, truncation, occlusion, angle, left, top, right, bottom, 3D values."""
    entry = Entry(file, file.stem)
    reading.entries.append(entry)
    for line, text in _lines(file):
        words = text.split()
        with reading.item(file, line=line):
            if words[0] == "DontCare":
                reading.ignore(file, "DontCare", line)
                continue
            entry.shapes.append(Shape(words[0], corners(*words[4:8]), line=line))


def vis_drone(file: Path, reading: Reading) -> None:
    """Read VisDrone's objects of one image: left, top, width, height, score, category, truncation, occlusion."""
    entry = Entry(file, file.stem)
    reading.entries.append(entry)
    for line, text in _lines(file):
        words = text.split(",")
        with reading.item(file, line=line):
            score, category = int(words[4]), int(words[5])
            if not category or not score:
                reading.ignore(file, "category 0 or score 0", line)
                continue
            if not 1 <= category <= len(_VISDRONE):
                raise ValueError(f"category {category} is not 0 to {len(_VISDRONE)}")
            entry.shapes.append(Shape(_VISDRONE[category - 1], corner_size(*words[:4]), line=line))


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    for line, text in enumerate(read_text(file).splitlines(), 1):
        if text.strip():
            yield line, text.strip()


def cvat(file: Path, reading: Reading) -> None:
    """Read "CVAT for images": ``image`` elements with ``box``, ``polygon`` and ``ellipse``, in pixels."""
    root = read_xml(file)
    images = list(root.iter("image"))
    if not images and root.find("track") is not None:
        raise RegardError("CVAT for video has no images", file=file, expected="an export as CVAT for images, or COCO")
    for image in images:
        size = size_of(image.get("height"), image.get("width"))
        entry = Entry(file, image.get("name", ""), size=size, split=split_in(image.get("subset", "")) or "")
        reading.entries.append(entry)
        for index, shape in enumerate(image):
            if shape.tag == "tag":
                continue
            place = f"{entry.image}, {shape.tag} {index}"
            with reading.item(file, place):
                entry.shapes.append(Shape(shape.attrib["label"], _cvat_box(shape.tag, shape.attrib), place))


def _cvat_box(kind: str, stated: Mapping[str, str]) -> Box:
    reject_line(kind)
    if kind == "box":
        return corners(*(stated[side] for side in ("xtl", "ytl", "xbr", "ybr")))
    if kind == "ellipse":
        cx, cy, rx, ry = (number(stated[side]) for side in ("cx", "cy", "rx", "ry"))
        return cx, cy, 2 * rx, 2 * ry
    if kind == "mask":
        return corner_size(*(stated[side] for side in ("left", "top", "width", "height")))
    return around([point.split(",") for point in stated["points"].split(";")])
