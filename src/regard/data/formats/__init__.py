"""Loading of data sets. A format is one module of this package and one entry of ``FORMATS``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from regard.data import synthetic
from regard.data.dataset import DetectionDataset, keep_classes, merge_classes
from regard.data.formats import coco, foreign, voc, yolo, yolo_folder
from regard.data.formats.unknown import unknown_source
from regard.data.formats.yolo_yaml import MOST_CLASSES
from regard.errors import RegardError
from regard.system.files import is_folder


class Format(Protocol):
    """A module that reads one data format."""

    EXPECTED: str
    """The sources that it reads, for error messages."""

    def recognise(self, source: str) -> bool:
        """Check whether ``source``, the text that the user gave, is of this format, without reading all of it."""

    def read(self, source: str) -> DetectionDataset:
        """Read the labels. Boxes that are wrong are clipped or dropped and reported in ``problems``.

        Raises:
            RegardError: a file is broken.
        """


FORMATS: tuple[Format, ...] = (yolo, voc, coco, foreign, yolo_folder, synthetic)
"""Formats in the order in which they are tried; a folder that contains files of two formats is read as the first."""


def load_data(
    source: str | Path, *, single_cls: bool = False, classes: Sequence[str] = (), first_class: int = 0
) -> DetectionDataset:
    """Load the data set at ``source`` and recognise its format.

    A file is recognised by its suffix or content. A folder is YOLO if it contains a ``data.yaml`` (or one other YAML
    file that names a train or val split), VOC if it or a subfolder contains XML files of boxes, COCO if there is such a
    ``.json`` file in ``annotations``, in the folder or in its subfolders; else of a format of ``foreign.FOREIGN``; else
    YOLO if images have label files. To read a folder that is YOLO as well as COCO as COCO, name the ``.json`` file.
    ``synthetic:context?train=2000&val=300&colours=3`` draws scenes on demand.

    No image is opened, except those whose size a label file in pixels fails to state. Wrong boxes are clipped or
    dropped, images that are listed but missing are left out, and both are reported in ``problems``.

    Args:
        source: a file, a folder, or a name that begins with ``synthetic:``.
        single_cls: assign all boxes to class 0, "item" (a data set with one class keeps its name).
        classes: names or ids of the classes to keep; boxes of other classes are dropped, ids and names do not change.
            Applied before ``single_cls``.
        first_class: class id in YOLO label files that the first name belongs to.

    Raises:
        RegardError: the source does not exist, its format is not recognised, or a file is broken.

    Example:
        >>> data = load_data("synthetic:local?train=4&val=2&test=0", classes=["circle"])
        >>> data.format, data.names, len(data.splits["train"])
        ('synthetic', ('circle', 'square'), 4)
    """
    data = _read(os.path.expanduser(source), first_class)
    if len(data.names) > MOST_CLASSES:
        raise RegardError(f"{len(data.names):,} classes", file=source, expected=f"at most {MOST_CLASSES:,}")
    if classes:
        data = keep_classes(data, classes)
    return merge_classes(data) if single_cls else data


def check_source(source: str | Path) -> None:
    """Check that ``source`` is a data set whose format is recognised, without reading all of it.

    Raises:
        RegardError: as for `load_data`, but not for broken files.

    Example:
        >>> check_source("synthetic:context")
    """
    name = os.path.expanduser(source)
    if name.startswith(synthetic.PREFIX):
        synthetic.read(name)
    else:
        _format_of(name)


def _read(source: str, first_class: int) -> DetectionDataset:
    form = _format_of(source)
    if not first_class:
        return form.read(source)
    if form in (yolo, yolo_folder):
        return (yolo if form is yolo else yolo_folder).read(source, first_class=first_class)
    raise RegardError(f"first_class is {first_class}", file=source, expected="0: these are no YOLO label files")


def _format_of(source: str) -> Format:
    found = next((form for form in FORMATS if form.recognise(source)), None)
    if found is not None:
        return found
    named = foreign.name_unreadable(Path(source)) if is_folder(source) else None
    if named is not None:
        what = f"the data set is {named}, which only its own tools read"
        raise RegardError(what, file=source, expected="an export as COCO, YOLO or Pascal VOC")
    raise unknown_source(source, "; ".join(form.EXPECTED for form in FORMATS))
