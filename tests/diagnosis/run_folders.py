"""Run folders as three packages write them, healthy unless a test changes something before they are written."""

from __future__ import annotations

import copy
import json
import math
import sys
import types
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml
from torch import nn

from regard.config import OptimSettings, Recipe, TrainSettings, describe
from regard.graph.build import build
from regard.graph.detector import Detector
from regard.graph.read import spec_from_document
from regard.weights.detector import save_detector

PACKAGES = ("regard", "yolov5", "ultralytics")
NAMES = ("cat", "dog")
TRAIN, VAL = 16, 5
ROWS = {
    "yolov5": (
        "epoch,train/box_loss,train/obj_loss,train/cls_loss,metrics/precision,metrics/recall,metrics/mAP_0.5,"
        "metrics/mAP_0.5:0.95,val/box_loss,val/obj_loss,val/cls_loss,x/lr0,x/lr1,x/lr2"
    ),
    "ultralytics": (
        "epoch,time,train/box_loss,train/cls_loss,train/dfl_loss,metrics/precision(B),metrics/recall(B),"
        "metrics/mAP50(B),metrics/mAP50-95(B),val/box_loss,val/cls_loss,val/dfl_loss,lr/pg0,lr/pg1,lr/pg2"
    ),
    "regard": "epoch,train/box,train/obj,train/cls,val/ap,val/ap50,val/ap75,val/precision,val/recall,val/f1,lr",
}
"""Columns of the tables; YOLOv5 pads them with blanks."""


def graph_of(package: str, sizes: list[list[int]]) -> dict[str, Any]:
    """A small graph of two levels, in YOLOv5's form or in that of YOLOv8."""
    rows = [[-1, 1, "Conv", [16, 6, 2, 2]], [-1, 1, "Conv", [24, 3, 2]], [-1, 1, "C3", [24]]]
    rows += [[-1, 1, "Conv", [32, 3, 2]], [-1, 1, "C3", [32]], [-1, 1, "Conv", [40, 3, 2]], [-1, 1, "C3", [40]]]
    if package == "ultralytics":
        return {"nc": 2, "backbone": rows, "head": [[[4, 6], 1, "Detect", ["nc"]]]}
    return {"nc": 2, "anchors": sizes, "backbone": rows, "head": [[[4, 6], 1, "Detect", ["nc", "anchors"]]]}


def curve(epochs: int, level: float = 0.6) -> list[float]:
    """AP that rises to a level and stays there, with a small fluctuation."""
    rng = np.random.default_rng(5)
    return [level * (1 - math.exp(-6 * e / epochs)) + float(rng.normal(0, 0.002)) for e in range(1, epochs + 1)]


@dataclass
class Run:
    """A run that is to be written; what is changed before ``write`` is its fault.

    Attributes:
        root: folder of everything.
        package: which package's run.
        ap: AP by epoch.
        columns: further columns of the table by name.
        graph: the graph of the trained model.
        names: class names of the trained model.
        start: the detector that it started from; None for fresh weights.
        trained: the trained detector; made from ``start`` by small changes if None.
    """

    root: Path
    package: str
    epochs: int = 400
    batch: int = 16
    imgsz: int = 320
    lr: float = 0.01
    optimizer: str = "SGD"
    nominal: int = 16
    patience: int = 100
    warmup: float = 3.0
    names: tuple[str, ...] = NAMES
    ap: list[float] | None = None
    columns: dict[str, list[float]] = field(default_factory=dict)
    graph: dict[str, Any] | None = None
    start_graph: dict[str, Any] | None = None
    has_start: bool = True
    trained: Detector | None = None
    folder: str = "exp"
    anchors: list[list[int]] = field(default_factory=lambda: [[20, 20, 40, 30, 60, 40], [80, 60, 110, 90, 170, 150]])

    def __post_init__(self) -> None:
        if self.package == "yolov5":
            self.batch = 64  # the nominal batch is fixed
        write_data(self.root / "data")

    @property
    def data(self) -> Path:
        return self.root / "data"

    def detectors(self) -> tuple[Detector, Detector]:
        """What it starts from, and the trained detector."""
        torch.manual_seed(0)
        graph = self.graph or graph_of(self.package, self.anchors)
        start = detector_of(self.start_graph or graph)
        trained = self.trained or fine_tuned(start if self.start_graph is None else detector_of(graph))
        return start, trained

    def write_texts(self) -> Path:
        """Write the folder without weights, which takes long."""
        folder = self.root / self.folder
        folder.mkdir(exist_ok=True)
        {"regard": self._own, "yolov5": self._yolov5, "ultralytics": self._ultralytics}[self.package](folder)
        self._table(folder)
        return folder

    def write(self) -> Path:
        """Write the folder."""
        folder = self.write_texts()
        start, trained = self.detectors()
        graph = self.graph or graph_of(self.package, self.anchors)
        if self.package == "regard":
            trained.names = dict(enumerate(self.names))
            save_detector(folder / "best.safetensors", trained)
            save_detector(self.root / "start.safetensors", start)
        else:
            (folder / "weights").mkdir(exist_ok=True)
            pickle(trained, graph, self.names, folder / "weights" / "best.pt", self.package)
            pickle(start, self.start_graph or graph, self.names, self.root / "start.pt", self.package)
        return folder

    def _table(self, folder: Path) -> None:
        values = self.ap if self.ap is not None else curve(self.epochs)
        names = ROWS[self.package].split(",") + list(self.columns)
        first = 0 if self.package == "yolov5" else 1
        lines = [",".join(f"{name:>20}" if self.package == "yolov5" else name for name in names)]
        for i, ap in enumerate(values):
            row = dict.fromkeys(names, 0.5)
            row |= {name: ap for name in names if name in ("val/ap", "metrics/mAP_0.5:0.95", "metrics/mAP50-95(B)")}
            row |= {name: ap + 0.2 for name in names if name in ("val/ap50", "metrics/mAP_0.5", "metrics/mAP50(B)")}
            rate = self.lr * (1 - i / self.epochs)
            row |= dict.fromkeys(("lr", "x/lr0", "x/lr1", "x/lr2", "lr/pg0", "lr/pg1", "lr/pg2"), rate)
            row |= {"epoch": i + first} | {name: column[i] for name, column in self.columns.items()}
            lines.append(",".join(f"{row[name]:>20.6g}" for name in names))
        (folder / "results.csv").write_text("\n".join(lines) + "\n")

    def _yolov5(self, folder: Path) -> None:
        options = {
            "weights": "start.pt" if self.has_start else "", "cfg": "", "data": str(self.data / "data.yaml"),
            "hyp": "data/hyps/hyp.scratch-low.yaml", "epochs": self.epochs, "batch_size": self.batch,
            "imgsz": self.imgsz, "rect": False, "noautoanchor": False, "optimizer": self.optimizer,
            "patience": self.patience, "freeze": [0], "seed": 0, "save_dir": "runs/train/exp", "single_cls": False,
        }  # fmt: skip
        hyp = {
            "lr0": self.lr, "lrf": 0.01, "momentum": 0.937, "weight_decay": 0.0005, "warmup_epochs": self.warmup,
            "box": 0.05, "cls": 0.5, "obj": 1.0, "iou_t": 0.2, "anchor_t": 4.0, "mosaic": 1.0,
        }  # fmt: skip
        (folder / "opt.yaml").write_text(yaml.safe_dump(options, sort_keys=False))
        (folder / "hyp.yaml").write_text(yaml.safe_dump(hyp, sort_keys=False))

    def _ultralytics(self, folder: Path) -> None:
        args = {
            "task": "detect", "mode": "train", "model": "start.pt" if self.has_start else "model.yaml",
            "data": str(self.data / "data.yaml"), "epochs": self.epochs, "time": None, "patience": self.patience,
            "batch": self.batch, "imgsz": self.imgsz, "pretrained": True, "optimizer": self.optimizer, "seed": 0,
            "single_cls": False, "lr0": self.lr, "lrf": 0.01, "warmup_epochs": self.warmup, "nbs": self.nominal,
            "save_dir": "runs/detect/train",
        }  # fmt: skip
        (folder / "args.yaml").write_text(yaml.safe_dump(args, sort_keys=False))

    def _own(self, folder: Path) -> None:
        optim = OptimSettings(
            optimizer="sgd" if self.optimizer == "SGD" else "adamw",
            lr=self.lr,
            nominal_batch=self.nominal,
            warmup_epochs=self.warmup,
            warmup_min_steps=0,
        )
        settings = TrainSettings(
            epochs=self.epochs,
            batch=self.batch,
            imgsz=self.imgsz,
            patience=self.patience,
            recipe=Recipe(name="test", optim=optim),
        )
        start = str(self.root / "start.safetensors") if self.has_start else "yolov5n"
        splits = {"train": {"images": TRAIN, "boxes": 2 * TRAIN}, "val": {"images": VAL, "boxes": 2 * VAL}}
        source = {"source": str(self.data), "format": "yolo", "names": list(self.names), "splits": splits}
        command = ["regard", "train", start, "--data", "data"]
        document = {"settings": describe(settings), "data": source, "environment": {"command": command}}
        (folder / "run.json").write_text(json.dumps(document))


def detector_of(graph: Mapping[str, Any]) -> Detector:
    """Build a detector whose kernels are random and of equal size."""
    with warnings.catch_warnings(action="ignore"):  # of graphs that are mis-wired
        return build(spec_from_document(copy.deepcopy(dict(graph))), names=dict(enumerate(NAMES)), allow_miswired=True)


def fine_tuned(detector: Detector) -> Detector:
    """A copy whose tensors have changed a little, as by training."""
    trained = copy.deepcopy(detector)
    with torch.no_grad():
        for name, tensor in trained.state_dict().items():
            if tensor.is_floating_point() and "anchors" not in name and tensor.numel() > 1:
                tensor.add_(0.3 * tensor.std() * torch.randn(tensor.shape))
    return trained


def write_data(folder: Path) -> None:
    """Write a YOLO data set of drawn images, all different, with a box of each class."""
    for split, count in (("train", TRAIN), ("val", VAL)):
        for i in range(count):
            write_image(folder, split, f"{split}{i}", seed=i + 100 * (split == "val"))
    (folder / "data.yaml").write_text("path: .\ntrain: images/train\nval: images/val\nnames: [cat, dog]\n")


def write_image(folder: Path, split: str, stem: str, seed: int, rows: str | None = None) -> Path:
    """Write an image of coarse random areas with its labels."""
    rng = np.random.default_rng(seed)
    image, label = folder / "images" / split / f"{stem}.png", folder / "labels" / split / f"{stem}.txt"
    for file in (image, label):
        file.parent.mkdir(parents=True, exist_ok=True)
    pixels = rng.integers(0, 256, (7, 11, 3), dtype=np.uint8).repeat(13, 0).repeat(17, 1)
    assert cv2.imwrite(str(image), pixels)
    side = rng.uniform(0.15, 0.4, 4)
    rows = rows or f"0 0.3 0.3 {side[0]:.4f} {side[1]:.4f}\n1 0.7 0.7 {side[2]:.4f} {side[3]:.4f}\n"
    label.write_text(rows)
    return image


CLASSES = {
    "yolov5": ("models.yolo.DetectionModel", "models.yolo.Detect"),
    "ultralytics": ("ultralytics.nn.tasks.DetectionModel", "ultralytics.nn.modules.head.Detect"),
}


def pickle(detector: Detector, graph: Mapping[str, Any], names: tuple[str, ...], file: Path, package: str) -> None:
    """Save a checkpoint as the package does: the pickled modules, by the names of its classes."""
    model_class, head_class = CLASSES[package]
    with _known(model_class, head_class):
        layers = copy.deepcopy(detector.model)
        model: Any = _class(model_class)()
        head: Any = _class(head_class)()
        head.__dict__.update(layers[-1].__dict__)
        model.model = nn.Sequential(*layers[:-1], head)
        model.yaml, model.names = dict(graph), dict(enumerate(names))
        torch.save({"epoch": -1, "model": model.half(), "ema": None}, file)


def _class(dotted: str) -> type[nn.Module]:
    module, _, name = dotted.rpartition(".")
    found: type[nn.Module] = getattr(sys.modules[module], name)
    return found


@contextmanager
def _known(*classes: str) -> Iterator[None]:
    before = dict(sys.modules)
    try:
        for dotted in classes:
            module, _, name = dotted.rpartition(".")
            parts = module.split(".")
            for count in range(1, len(parts) + 1):
                sys.modules.setdefault(".".join(parts[:count]), types.ModuleType(".".join(parts[:count])))
            setattr(sys.modules[module], name, type(name, (nn.Module,), {"__module__": module, "__qualname__": name}))
        yield
    finally:
        for name in set(sys.modules) - set(before):
            if name.split(".")[0] in ("models", "ultralytics"):
                del sys.modules[name]
