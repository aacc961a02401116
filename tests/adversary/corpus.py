"""Small, sound files of every kind that ``regard`` reads, made once by its own commands; fuzzers damage copies."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from later_corpus import make_later
from torch import nn

MODEL = """\
nc: 2
depth_multiple: 0.33
width_multiple: 0.25
anchors:
  - [15, 15, 19, 19, 24, 24]
backbone:
  - stem: [-1, 1, Conv, [32, 3, 2]]
  - p2: [-1, 1, Conv, [32, 3, 2]]
  - c3: [-1, 3, C3, [32]]
  - p3: [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, nn.Upsample, [None, 2, nearest]]
head:
  - [[-1, p2], 1, Concat, [1]]
  - out: [-1, 1, Conv, [64, 3, 2]]
  - detect: [out, 1, Detect, [nc, anchors]]
"""
INTEGER_MODEL = """\
nc: 2
depth_multiple: 0.33
width_multiple: 0.25
anchors:
  - [15,15, 19,19, 24,24]  # P3/8
backbone:
  [[-1, 1, Conv, [32, 3, 2]],
   [-1, 1, Conv, [32, 3, 2]],
   [-1, 3, C3, [32]],
   [-1, 1, Conv, [64, 3, 2]],
  ]
head:
  [[[-1], 1, Concat, [1]],
   [-1, 1, Conv, [64, 1, 1]],
   [[5], 1, Detect, [nc, anchors]],
  ]
"""
OVERLAY = """\
base: tiny.yaml
nc: 3
insert:
  - {after: p3, module: SE, args: [], gate: true}
  - {after: stem, module: CBAM, name: seen}
replace:
  - {layer: c3, module: C3, args: [32]}
"""
PLAN = """\
base: tiny.yaml
data: {data}
insert: [SE@p3, two=ECA@c3]
model: [overlay.yaml]
control: largest
seeds: 2
epochs: 1
imgsz: 64
batch: 2
recipe: default
train: {{precision: "32", workers: 0}}
metric: ap
question: Is it worth it?
"""
HYP = """\
lr0: 0.01
lrf: 0.01
momentum: 0.937
weight_decay: 0.0005
warmup_epochs: 3.0
warmup_momentum: 0.8
warmup_bias_lr: 0.1
box: 0.05
cls: 0.5
cls_pw: 1.0
obj: 1.0
obj_pw: 1.0
iou_t: 0.20
anchor_t: 4.0
fl_gamma: 0.0
hsv_h: 0.015
hsv_s: 0.7
hsv_v: 0.4
degrees: 0.0
translate: 0.1
scale: 0.5
shear: 0.0
perspective: 0.0
flipud: 0.0
fliplr: 0.5
mosaic: 1.0
mixup: 0.0
copy_paste: 0.0
"""
VOC = """\
<?xml version="1.0" encoding="utf-8"?>
<annotation>
  <filename>{name}.jpg</filename>
  <size><width>48</width><height>40</height><depth>3</depth></size>
  <object><name>cat</name><difficult>0</difficult>
    <bndbox><xmin>3</xmin><ymin>5</ymin><xmax>20</xmax><ymax>30</ymax></bndbox>
  </object>
  <object><name>dog</name>
    <bndbox><xmin>21.5</xmin><ymin>7</ymin><xmax>40</xmax><ymax>35</ymax></bndbox>
  </object>
</annotation>
"""
DATA = "path: .\ntrain: images/train\nval: images/val\nnc: 2\nnames:\n  0: cat\n  1: dog\n"
SCENES = "synthetic:context?train=4&val=2&test=1"


def image(seed: int) -> np.ndarray:
    """An image of 40 x 48 pixels."""
    return np.random.default_rng(seed).integers(0, 256, (40, 48, 3), dtype=np.uint8)


def make(folder: Path) -> None:
    """Fill a folder with the corpus."""
    for name, text in (("tiny.yaml", MODEL), ("integer.yaml", INTEGER_MODEL), ("overlay.yaml", OVERLAY)):
        (folder / name).write_text(text)
    (folder / "hyp.yaml").write_text(HYP)
    (folder / "plan.yaml").write_text(PLAN.format(data=SCENES))
    make_images(folder)
    make_sets(folder)
    make_models(folder)
    make_later(folder)


def make_images(folder: Path) -> None:
    """Images in each format that is read, and a video in each container that OpenCV can write here."""
    (folder / "images").mkdir()
    for i, suffix in enumerate(("jpg", "png", "bmp", "tif", "webp")):
        assert cv2.imwrite(str(folder / "images" / f"{i}.{suffix}"), image(i))
    for suffix, code in (("mp4", "mp4v"), ("avi", "MJPG")):
        writer = cv2.VideoWriter(str(folder / f"video.{suffix}"), cv2.VideoWriter.fourcc(*code), 10, (48, 40))
        for i in range(3):
            writer.write(image(i))
        writer.release()


def make_sets(folder: Path) -> None:
    """One data set in the forms of YOLO, COCO and VOC."""
    yolo, coco, voc = (folder / name for name in ("yolo", "coco", "voc"))
    for sub in ("images/train", "images/val", "labels/train", "labels/val"):
        (yolo / sub).mkdir(parents=True)
    for name in ("annotations", "train", "val"):
        (coco / name).mkdir(parents=True)
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (voc / name).mkdir(parents=True)
    for split, numbers in (("train", (0, 1)), ("val", (2,))):
        entries = []
        for i in numbers:
            for path in (yolo / "images" / split, coco / split, voc / "JPEGImages"):
                cv2.imwrite(str(path / f"{i}.jpg"), image(i))
            (yolo / "labels" / split / f"{i}.txt").write_text("0 0.5 0.5 0.25 0.5\n1 0.2 0.3 0.1 0.1 0.3 0.2 0.4 0.4\n")
            (voc / "Annotations" / f"{i}.xml").write_text(VOC.format(name=i))
            entries.append({"id": i, "file_name": f"{i}.jpg", "height": 40, "width": 48})
        boxes = [
            {"id": 10 * i + k, "image_id": i, "category_id": k + 1, "bbox": [1, 2, 9.5, 11], "area": 100, "iscrowd": 0}
            for i in numbers
            for k in (0, 1)
        ]
        categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
        document = {"images": entries, "annotations": boxes, "categories": categories}
        (coco / "annotations" / f"instances_{split}.json").write_text(json.dumps(document))
        (voc / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{i}\n" for i in numbers))
    (yolo / "data.yaml").write_text(
        "path: .\ntrain: images/train\nval: images/val\nnc: 2\nnames:\n  0: cat\n  1: dog\n"
    )


def make_models(folder: Path) -> None:
    """A run, its weights as another program's checkpoint, and its exports."""
    import regard

    settings: dict[str, Any] = {"imgsz": 32, "batch": 2, "epochs": 1, "workers": 0, "precision": "32"}
    model = regard.load(folder / "tiny.yaml")
    run = regard.train(model, SCENES, folder=folder / "run", plots=False, verbose=False, **settings)
    for path in (folder / "run").iterdir():
        if path.suffix in (".png", ".jpg"):
            path.unlink()
    shutil.rmtree(folder / "run" / "tensorboard", ignore_errors=True)
    forge_yolov5(regard.load(folder / "integer.yaml"), folder / "forged.pt")
    (folder / "exports").mkdir()
    for suffix in ("torchscript", "onnx", "xml"):
        regard.export(run.model, folder / "exports" / f"model.{suffix}", imgsz=32)


def forge_yolov5(detector: nn.Module, file: Path) -> None:
    """Write a detector as YOLOv5's training program pickles its own."""
    module = types.ModuleType("models.yolo")
    made: Any = type("DetectionModel", (nn.Module,), {"__module__": "models.yolo"})
    module.DetectionModel = made  # type: ignore[attr-defined]
    sys.modules.setdefault("models", types.ModuleType("models"))
    sys.modules["models.yolo"] = module
    import yaml

    model = made()
    model.model = detector.get_submodule("model")
    model.yaml = {**yaml.safe_load(INTEGER_MODEL), "ch": 3}
    model.names = {0: "cat", 1: "dog"}
    model.stride = torch.tensor([8.0])
    torch.save({"epoch": 3, "model": model, "ema": None, "optimizer": None, "date": "2026"}, file)


def make_study(folder: Path) -> None:
    """A finished study of two runs."""
    argv = [sys.executable, "-m", "regard", "ablate", "--plan", str(folder / "plan.yaml"), "-o", str(folder / "study")]
    subprocess.run([*argv, "--control", "none", "--seeds", "3,", "--processes", "1"], check=True)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
    if "--study" in sys.argv:
        make_study(Path(sys.argv[1]))
