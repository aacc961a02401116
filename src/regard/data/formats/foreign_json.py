"""JSON of labelling tools: labelme, VIA, Label Studio, CreateML, Supervisely, and Hugging Face's image folders."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from regard.data.files import split_in
from regard.data.formats.assemble import Entry, Shape
from regard.data.formats.labels import Box
from regard.data.formats.reading import Reading, around, corner_size, number, reject_line, size_of
from regard.errors import RegardError
from regard.system.loaders import parse_json, read_json, read_text

UNNAMED = "object"
"""Class of objects for which a file states none at all."""

_CLASS_KEYS = ("label", "labels", "class", "class_name", "name", "type", "category", "category_id", "categories", "id")


def labelme(file: Path, reading: Reading) -> None:
    """Read one image: ``shapes`` with ``label``, ``points`` and ``shape_type``, in pixels."""
    content = _mapping(file)
    size = size_of(content.get("imageHeight"), content.get("imageWidth"))
    entry = Entry(file, str(content.get("imagePath") or file.stem), size=size, alternatives=(file.stem,))
    reading.entries.append(entry)
    entry.embedded = isinstance(content.get("imageData"), str)
    for index, shape in enumerate(_list(content.get("shapes"))):
        with reading.item(file, f"shapes[{index}]"):
            reject_line(shape.get("shape_type"))
            points = shape["points"]
            if shape.get("shape_type") == "circle":  # the centre and a point of the circle
                (cx, cy), edge = map(number, points[0]), points[1]
                radius = float(np.hypot(cx - number(edge[0]), cy - number(edge[1])))
                box: Box = (cx, cy, 2 * radius, 2 * radius)
            else:
                box = around(points)
            entry.shapes.append(Shape(str(shape["label"]), box, f"shapes[{index}]"))


def via(file: Path, reading: Reading) -> None:
    """Read VIA's (VGG Image Annotator's) project or export: images with ``regions`` in pixels."""
    content = read_json(file)
    images = content.get("_via_img_metadata", content) if isinstance(content, dict) else content
    for image in _list(images):
        if not isinstance(image, dict) or "filename" not in image:
            continue
        entry = Entry(file, str(image["filename"]))
        reading.entries.append(entry)
        for index, region in enumerate(_list(image.get("regions"))):
            place = f"{entry.image}, region {index}"
            with reading.item(file, place):
                box = via_box(region["shape_attributes"])
                entry.shapes.append(Shape(via_class(region.get("region_attributes")), box, place))


def via_box(shape: dict[str, Any]) -> Box:
    """Box of a VIA region.

    Raises:
        ValueError: it has no area, as points.
    """
    kind = shape["name"]
    reject_line(kind)
    if kind == "rect":
        return corner_size(shape["x"], shape["y"], shape["width"], shape["height"])
    if kind in ("circle", "ellipse"):
        rx, ry = number(shape.get("rx", shape.get("r"))), number(shape.get("ry", shape.get("r")))
        return number(shape["cx"]), number(shape["cy"]), 2 * rx, 2 * ry
    if "all_points_x" not in shape:
        raise ValueError(f"a {kind} has no box")
    return around(list(zip(shape["all_points_x"], shape["all_points_y"], strict=True)))


def via_class(attributes: Any) -> str:
    """Class of a VIA region: the attribute that is called like one, else the first with a value."""
    attributes = attributes if isinstance(attributes, dict) else {}
    first = [key for key in attributes if key.lower() in _CLASS_KEYS]
    for key in (*first, *attributes):
        value = attributes[key]
        if isinstance(value, dict):  # check boxes
            value = next((option for option, is_set in value.items() if is_set), "")
        if str(value).strip():
            return str(value).strip()
    return UNNAMED


def label_studio(file: Path, reading: Reading) -> None:
    """Read Label Studio's JSON or JSON-MIN export, with boxes in percent of the image."""
    for index, task in enumerate(_list(read_json(file))):
        with reading.item(file, f"task {index}"):
            data = task.get("data", task)
            stated = data.get("image") or next((value for value in data.values() if isinstance(value, str)), None)
            if stated is None:
                raise ValueError("no image is named")
            name = _upload(str(stated))
            entry = Entry(file, name, scale=100.0, alternatives=(re.sub(r"^(.*/)?[0-9a-f]{6,8}-", "", name),))
            reading.entries.append(entry)
            works = [w for w in _list(task.get("annotations", task.get("completions"))) if not w.get("was_cancelled")]
            marks = [mark.get("value") for mark in _list(works[0].get("result"))] if works else []
            marks += [mark for value in task.values() for mark in _list(value) if _is_mark(mark)]  # JSON-MIN
            for number_, value in enumerate(mark for mark in marks if _is_mark(mark)):
                place = f"task {index}, result {number_}"
                with reading.item(file, place):
                    entry.shapes += [Shape(label, _percent_box(value), place) for label in _mark_labels(value)[:1]]


def _is_mark(value: Any) -> bool:
    return isinstance(value, dict) and bool(_mark_labels(value))


def _mark_labels(value: dict[str, Any]) -> list[str]:
    keys = ("rectanglelabels", "polygonlabels", "ellipselabels", "brushlabels", "labels")
    return [str(label) for key in keys for label in _list(value.get(key)) if isinstance(label, str)]


def _percent_box(value: dict[str, Any]) -> Box:
    if "points" in value:
        return around(value["points"])
    if "radiusX" in value:
        return number(value["x"]), number(value["y"]), 2 * number(value["radiusX"]), 2 * number(value["radiusY"])
    if number(value.get("rotation") or 0):  # around the upper left corner, in pixels
        size = size_of(value.get("original_height"), value.get("original_width")) or (1, 1)
        angle = np.deg2rad(number(value["rotation"]))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        w, h = number(value["width"]) * size[1], number(value["height"]) * size[0]
        offsets = np.array([[0, 0], [w, 0], [w, h], [0, h]]) @ turn.T / [size[1], size[0]]
        corner = np.array([number(value["x"]), number(value["y"])])
        return around((offsets + corner).tolist())
    return corner_size(value["x"], value["y"], value["width"], value["height"])


def _upload(stated: str) -> str:
    """Path of an image in the addresses that Label Studio states, such as /data/local-files/?d=images/a.jpg."""
    parts = urlsplit(stated)
    return unquote(parse_qs(parts.query).get("d", [parts.path])[0]) if "\\" not in stated else stated


def create_ml(file: Path, reading: Reading) -> None:
    """Read Apple's CreateML JSON: centre and size in pixels."""
    for index, image in enumerate(_list(read_json(file))):
        with reading.item(file, f"[{index}]"):
            entry = Entry(file, str(image.get("image") or image.get("imagefilename") or image["filename"]))
            reading.entries.append(entry)
            for position, mark in enumerate(_list(image.get("annotations", image.get("annotation")))):
                place = f"[{index}], annotation {position}"
                with reading.item(file, place):
                    where = mark["coordinates"]
                    cx, cy, w, h = (number(where[key]) for key in ("x", "y", "width", "height"))
                    entry.shapes.append(Shape(str(mark["label"]), (cx, cy, w, h), place))


def supervisely(file: Path, reading: Reading) -> None:
    """Read Supervisely's JSON of one image, which is called like the image with ".json" added."""
    content = _mapping(file)
    if "objects" not in content:
        return
    size = content.get("size")
    size = size_of(size.get("height"), size.get("width")) if isinstance(size, dict) else None
    entry = Entry(file, file.name.removesuffix(".json"), size=size)
    reading.entries.append(entry)
    for index, shape in enumerate(_list(content["objects"])):
        with reading.item(file, f"objects[{index}]"):
            reject_line(shape.get("geometryType"))
            if "points" not in shape:
                raise ValueError(f"a {shape.get('geometryType')} has no points")
            box = around(shape["points"]["exterior"])
            entry.shapes.append(Shape(str(shape["classTitle"]), box, f"objects[{index}]"))


def image_folder(file: Path, reading: Reading) -> None:
    """Read ``metadata.jsonl`` of Hugging Face: ``objects`` with lists of boxes [left, top, width, height] in pixels."""
    for line, text in enumerate(read_text(file).splitlines(), 1):
        if not text.strip():
            continue
        with reading.item(file, line=line):
            row = parse_json(text, None)
            size = size_of(row.get("height"), row.get("width"))
            entry = Entry(file, str(row["file_name"]), size=size, split=split_in(str(row.get("split", ""))) or "")
            reading.entries.append(entry)
            objects = row.get("objects") or {}
            boxes = _list(objects.get("bbox")) if isinstance(objects, dict) else [one.get("bbox") for one in objects]
            classes = _classes(objects, len(boxes))
            for name, box in zip(classes, boxes, strict=True):
                with reading.item(file, line=line):
                    entry.shapes.append(Shape(name, corner_size(*box), line=line))


def _classes(objects: Any, count: int) -> list[str]:
    rows = objects if isinstance(objects, list) else [objects]
    key = next((key for key in _CLASS_KEYS if any(isinstance(row, dict) and key in row for row in rows)), None)
    if key is None:
        return [UNNAMED] * count
    return [str(row[key]) for row in rows] if isinstance(objects, list) else [str(name) for name in objects[key]]


def _mapping(file: Path) -> dict[str, Any]:
    content = read_json(file)
    if not isinstance(content, dict):
        raise RegardError("not a mapping", file=file)
    return content


def _list(value: Any) -> list[Any]:
    """The items of a list, or the values of a mapping, as older versions of VIA write lists."""
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else []
