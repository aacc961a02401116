"""Files with weights: finding the file that a user means, and the error for a missing one. Does not import torch."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from regard.errors import RegardError
from regard.system.files import is_file, is_folder, reject_special

CHECKPOINTS = (".pt", ".pth", ".ckpt")
WEIGHTS = ".safetensors"
RUN_WEIGHTS = ("best.safetensors", "last.safetensors")
SUFFIXES = (WEIGHTS, *CHECKPOINTS)

PUBLISHED = tuple(f"yolov5{size}{levels}.pt" for levels in ("", "6") for size in "nsmlx")
"""Names of the checkpoints of YOLOv5 release v7.0."""


def weights_of(source: str | Path) -> Path | None:
    """Find the file of weights that a path or a run folder refers to; None for a graph or any other file."""
    path = Path(source)
    if is_folder(path):
        return next((path / name for name in RUN_WEIGHTS if is_file(path / name)), None)
    return path if is_file(path) and path.suffix.lower() in SUFFIXES else None


def weights_of_run(folder: Path) -> Path:
    """Find the best weights in the folder of a run.

    Raises:
        RegardError: the folder contains no weights.
    """
    found = weights_of(folder)
    if found is None:
        expected = "a run folder with " + " or ".join(RUN_WEIGHTS)
        raise RegardError("there are no weights in this folder", file=folder, expected=expected)
    return found


def missing_file(path: Path) -> RegardError:
    """Describe a missing file of weights: its published name, if it has one, and similar names in the same folder.

    Raises:
        RegardError: it is not missing, but a pipe, socket or device.

    Example:
        >>> print(missing_file(Path("yolov5m.pt")))
        yolov5m.pt: no such file
          published by Ultralytics with YOLOv5 release v7.0 as `yolov5m.pt`; regard downloads nothing
    """
    reject_special(path)
    if is_folder(path):
        return RegardError("this is a folder", file=path, expected="a weights file")
    folder = path.parent
    what = "no such file" if is_folder(folder) else f"no such file, and no folder {str(folder)!r}"
    present = [file.name for file in folder.glob("*") if file.suffix in SUFFIXES] if is_folder(folder) else []
    close = difflib.get_close_matches(path.name, present, n=1, cutoff=0.75)
    hints = [_published(path.name), f"did you mean {close[0]!r}?" if close else None]
    return RegardError(what, file=path, hint="\n  ".join(hint for hint in hints if hint) or None)


def _published(name: str) -> str | None:
    if re.match(r"yolo(v?[1-47](\D|$)|.*-(seg|pose|cls|obb|world))|rtdetr|sam", name.lower()):
        return (
            "the name is that of another kind of model: regard reads detectors of YOLOv5, v8, v9, v10, 11, 12 and 26, "
            "such as `yolov5n.pt`"
        )
    if re.fullmatch(r"yolo(v(8|9|10)[a-z]|(11|12|26)[a-z]|v5[a-z]6?u)(-\w+)?\.pt", name.lower()):
        return f"published by Ultralytics as `{name.lower()}`; regard downloads nothing"
    known = difflib.get_close_matches(name.lower(), PUBLISHED, n=1, cutoff=0.8)
    if not known:
        return None
    return f"published by Ultralytics with YOLOv5 release v7.0 as `{known[0]}`; regard downloads nothing"
