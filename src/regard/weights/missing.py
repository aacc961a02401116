"""What to say about a weights file that is not there."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from regard.errors import RegardError

PUBLISHED = tuple(f"yolov5{size}{levels}.pt" for levels in ("", "6") for size in "nsmlx")
SUFFIXES = (".pt", ".pth", ".safetensors")


def missing_file(path: Path) -> RegardError:
    """Return the error for a weights file that does not exist, with its publisher's name and near names beside it."""
    if path.is_dir():
        return RegardError("this is a folder", file=path, expected="a weights file")
    folder = path.parent
    what = "no such file" if folder.is_dir() else f"no such file, and no folder {str(folder)!r}"
    beside = [file.name for file in folder.glob("*") if file.suffix in SUFFIXES] if folder.is_dir() else []
    close = difflib.get_close_matches(path.name, beside, n=1, cutoff=0.75)
    hints = [_published(path.name), f"did you mean {close[0]!r}?" if close else None]
    return RegardError(what, file=path, hint="\n  ".join(hint for hint in hints if hint) or None)


def _published(name: str) -> str | None:
    if re.match(r"yolo(v?([1-46-9]|1\d)|.*u\.pt$)|rtdetr|sam", name.lower()):
        return "by its name another kind of model: regard reads YOLOv5 v6 detection checkpoints, such as `yolov5n.pt`"
    known = difflib.get_close_matches(name.lower(), PUBLISHED, n=1, cutoff=0.8)
    if not known:
        return None
    return f"published by Ultralytics with YOLOv5 release v7.0 as `{known[0]}`; regard downloads nothing"
