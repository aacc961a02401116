"""Loading a data set, whatever its format: the format is recognised by looking."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from regard.data.coco import find_json, read_coco
from regard.data.dataset import DetectionDataset
from regard.data.select import keep_classes, merge_classes
from regard.data.splits import SPLITS, nearest_path
from regard.data.synthetic import PREFIX, synthetic
from regard.data.voc import read_voc
from regard.data.yolo import read_yolo
from regard.errors import RegardError

EXPECTED = (
    "a data.yaml (YOLO), a .json (COCO), a folder with data.yaml, Annotations/*.xml (VOC) or annotations/*.json, "
    "or synthetic:context, synthetic:local"
)


def load_data(source: str | Path, *, single_cls: bool = False, classes: Sequence[str] = ()) -> DetectionDataset:
    """Return the data set at ``source``.

    A file is read by its suffix: ``.yaml`` as YOLO, ``.json`` as COCO. A folder is YOLO if it holds a ``data.yaml``
    (or one other yaml that names a train or val split), else VOC if ``Annotations`` holds XML files, else COCO if there
    is a ``.json`` in ``annotations``, in the folder or in its subfolders. So a folder that holds two formats is read as
    YOLO; naming the ``.json`` picks COCO. ``synthetic:context?train=2000&val=300&colours=3`` draws scenes on the fly.

    No image is opened, except those whose size a COCO or VOC file fails to state. Wrong boxes are clipped or dropped
    and recorded in ``problems``; a listed image that is missing is left out and recorded likewise.

    Args:
        source: a file, a folder, or a name that starts with ``synthetic:``.
        single_cls: make every box class 0, "item" (a set with one class keeps its name).
        classes: names or indices of the classes to keep; boxes of others are dropped, ids and names stay. Applied
            before ``single_cls``.

    Raises:
        RegardError: nothing is there, the format is not recognised, or a file is broken.
    """
    data = _read(source)
    if classes:
        data = keep_classes(data, classes)
    return merge_classes(data) if single_cls else data


def _read(source: str | Path) -> DetectionDataset:
    if str(source).startswith(PREFIX):
        return synthetic(str(source))
    path = Path(source).expanduser()
    if not path.exists():
        raise RegardError(f"there is no data set {str(source)!r}", expected=EXPECTED, hint=nearest_path(path))
    if path.is_dir():
        return _read_folder(path)
    if path.suffix.lower() in (".yaml", ".yml"):
        return read_yolo(path)
    if path.suffix.lower() == ".json":
        return read_coco(path)
    raise RegardError("not a data set in a known format", file=path, expected=EXPECTED)


def _read_folder(folder: Path) -> DetectionDataset:
    config = _find_yaml(folder)
    if config is not None:
        return read_yolo(config)
    if any((folder / "Annotations").glob("*.xml")):
        return read_voc(folder)
    if find_json(folder):
        return read_coco(folder)
    found = ", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "nothing"
    raise RegardError(f"the folder holds {found}, which is no known format", file=folder, expected=EXPECTED)


def _find_yaml(folder: Path) -> Path | None:
    """Return the folder's data.yaml, or the one other yaml in it that describes a data set."""
    for name in ("data.yaml", "data.yml"):
        if (folder / name).is_file():
            return folder / name
    found = [path for path in sorted(folder.glob("*.y*ml")) if _names_a_split(path)]
    if len(found) > 1:
        raise RegardError(
            "holds several data sets: " + ", ".join(path.name for path in found),
            file=folder,
            hint="name the one to use",
        )
    return found[0] if found else None


def _names_a_split(config: Path) -> bool:
    try:
        options = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False
    return isinstance(options, dict) and "names" in options and any(split in options for split in SPLITS)
