"""Sound files of later families and of other labelling tools; see ``corpus``."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml
from torch import nn

_ROWS = """\
nc: 2
{extra}scales:
  n: [0.5, 0.25, 1024]
backbone:
  - [-1, 1, Conv, [32, 3, 2]]
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 2, {block}]
  - [-1, 1, Conv, [128, 3, 2]]
  - [-1, 1, SPPF, [512, 5]]
  - [-1, 2, {last}]
head:
  - [-1, 1, nn.Upsample, [None, 2, nearest]]
  - [[-1, 2], 1, Concat, [1]]
  - [-1, 2, {block}]
  - [[8, 5], 1, Detect, [nc]]
"""
GRAPHS = {
    "yolov8n": _ROWS.format(extra="", block="C2f, [64, True]", last="C2f, [512]"),
    "yolo11n": _ROWS.format(extra="", block="C3k2, [64, False, 0.25]", last="C2PSA, [512]"),
    "yolo12n": _ROWS.format(extra="", block="C3k2, [64, False, 0.25]", last="A2C2f, [512, True, 1]"),
    "yolo26n": _ROWS.format(extra="end2end: True\nreg_max: 1\n", block="C3k2, [64, True]", last="C2PSA, [512]"),
}
"""Small graphs in the form of each family, by the name of its file."""


def make_later(folder: Path) -> None:
    """Graphs and checkpoints of later families, and a data set of each labelling tool."""
    import regard

    for name, graph in GRAPHS.items():
        (folder / f"{name}.yaml").write_text(graph)
        forge_later(regard.load(folder / f"{name}.yaml"), yaml.safe_load(graph), folder / f"{name}.pt")
    sys.path.append(str(Path(__file__).parents[1] / "data"))
    from foreign_writers import BOXES, FORMATS, HEIGHT, WIDTH

    for form in FORMATS:
        for i, stem in enumerate(BOXES):
            root = folder / "foreign" / form.__name__
            root.mkdir(parents=True, exist_ok=True)
            image = np.random.default_rng(i).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            assert cv2.imwrite(str(root / f"{stem}.png"), image)
        form(root)


def forge_later(detector: nn.Module, graph: dict[str, Any], file: Path) -> None:
    """Write a detector as the package of YOLOv8 and later pickles its own: half precision, classes of that package."""
    model = _class("ultralytics.nn.tasks", "DetectionModel")()
    model.model = nn.Sequential(*(_disguised(row) for row in detector.get_submodule("model").children()))
    model.yaml = {**graph, "ch": 3, "scale": "n", "yaml_file": file.with_suffix(".yaml").name}
    model.names = {0: "cat", 1: "dog"}
    model.stride = torch.tensor([4.0, 8.0])
    torch.save({"epoch": -1, "model": model.half(), "ema": None, "train_args": {"imgsz": 64}, "version": "8"}, file)


def _disguised(module: nn.Module) -> nn.Module:
    """The module and its children, as instances of classes of the other package."""
    for name, child in list(module.named_children()):
        setattr(module, name, _disguised(child))
    if type(module).__module__.startswith("torch."):
        return module
    name = type(module).__name__
    is_head = hasattr(module, "strides") or name.endswith("Head")
    made = _class("ultralytics.nn.modules.head", "Detect") if is_head else _class("ultralytics.nn.modules.block", name)
    other = made()
    keys = ("training", "_parameters", "_buffers", "_modules", "_non_persistent_buffers_set")
    plain = {k: v for k, v in vars(module).items() if isinstance(v, bool | int | float | str)}
    vars(other).update(plain | {key: vars(module)[key] for key in keys})
    return other


def _class(module: str, name: str) -> Any:
    parts = module.split(".")
    for parent in (".".join(parts[:count]) for count in range(1, len(parts) + 1)):
        sys.modules.setdefault(parent, types.ModuleType(parent))
    made = getattr(sys.modules[module], name, None) or type(name, (nn.Module,), {"__module__": module})
    setattr(sys.modules[module], name, made)
    return made
