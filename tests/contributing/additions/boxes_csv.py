"""Boxes in one CSV file, ``boxes.csv``: image, split, class, left, top, right, bottom in pixels."""

from __future__ import annotations

from pathlib import Path

from regard.data.dataset import DetectionDataset
from regard.data.files import split_in
from regard.data.formats.assemble import Entry, Shape, assemble
from regard.data.formats.reading import Reading, corners
from regard.errors import RegardError
from regard.system.files import is_file
from regard.system.loaders import parse_csv, read_text

EXPECTED = "a folder with boxes.csv"
COLUMNS = ("image", "split", "class", "left", "top", "right", "bottom")


def recognise(source: str) -> bool:
    """Check for ``boxes.csv``."""
    return is_file(Path(source, "boxes.csv"))


def read(source: str) -> DetectionDataset:
    """Read the table; images are next to it. What is wrong in a row is reported, and the next one is read.

    Raises:
        RegardError: the table cannot be read, has other columns, or none of its images is there.
    """
    file = Path(source, "boxes.csv")
    reading = Reading(file.parent)
    rows = parse_csv(read_text(file), file)
    if tuple(rows[0] if rows else ()) != COLUMNS:
        raise RegardError(f"its columns are {rows[:1]}", file=file, line=1, expected=",".join(COLUMNS))
    images: dict[str, Entry] = {}
    for line, cells in enumerate(rows[1:], 2):
        if not cells:
            continue
        with reading.item(file, line=line):
            image, split, name, *sides = cells
            if len(sides) != 4:
                raise ValueError(f"{len(cells)} cells instead of {len(COLUMNS)}")
            entry = images.setdefault(image, Entry(file, image, split=split_in(split) or ""))
            entry.shapes.append(Shape(name, corners(*sides), line=line))
    entries = list(images.values())
    names = sorted({shape.name for entry in entries for shape in entry.shapes})
    return assemble(entries, file.parent, source, "csv-of-boxes", names, problems=reading.problems)
