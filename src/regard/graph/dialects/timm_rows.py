"""The short form ``timm: {name: mobilenetv3_small_100, out_indices: [2, 3, 4]}``: rows for the stages of a backbone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from regard.errors import RegardError, nearest
from regard.graph.bounded import Bounded
from regard.graph.spec import IMAGE
from regard.nn.timm_stage import strides_of

KEYS = ("name", "out_indices")
STRIDES = (8, 16, 32)
"""Of the maps that detectors read unless ``out_indices`` states others."""


def timm_rows(item: Any, line: int, file: Path | None) -> list[Any]:
    """Write a row out if it is the short form: one named row ``pK`` for each of the maps of stride 2^K.

    Raises:
        RegardError: a key or a value is wrong, or there is no such network; the message names file and line.
    """
    if not (isinstance(item, dict) and list(item) == ["timm"] and isinstance(item["timm"], dict)):
        return [item]
    stated = item["timm"]
    for key in stated:
        if key not in KEYS:
            what, expected = f"unknown key {key!r} in timm", " and ".join(KEYS)
            raise RegardError(what, file=file, line=line, expected=expected, hint=nearest(str(key), KEYS))
    name = stated.get("name")
    if not isinstance(name, str):
        raise RegardError(f"timm has the name {name!r}", file=file, line=line, expected="a name of timm.list_models()")
    try:
        with Bounded():
            strides = strides_of(name)
    except RegardError as error:
        raise error.at(file, line) from error
    stages = stated.get("out_indices", [i for i, stride in enumerate(strides) if stride in STRIDES])
    numbers = isinstance(stages, list) and all(type(i) is int and 0 <= i < len(strides) for i in stages)
    if not numbers or not stages or stages != sorted(set(stages)):
        what, last = f"timm has the out_indices {stages!r}", len(strides) - 1
        expected = f"rising numbers of 0 to {last}, of which {name} has strides {', '.join(map(str, strides))}"
        raise RegardError(what, file=file, line=line, expected=expected)
    rows = []
    for before, stage in zip([-1, *stages], stages, strict=False):
        options = {"name": name, "stage": stage} | ({"after": before} if before >= 0 else {})
        source = -1 if before >= 0 else IMAGE
        rows.append({f"p{strides[stage].bit_length() - 1}": [source, 1, "TimmStage", options]})
    return rows
