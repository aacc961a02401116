"""The settings of training, validation, prediction and export: every default, bound and description, once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from regard.config.base import Option, Settings, part_of
from regard.config.hyp import find_recipe
from regard.config.recipe import DEFAULT_RECIPE, Recipe

IMGSZ = 640
"""Side of the network's input in pixels."""

MOST_SIDE, MOST_BATCH, MOST_WORKERS, MOST_EPOCHS, MOST_DETECTIONS = 2**14, 2**16, 1024, 1_000_000, 100_000
MOST_SEED = 2**32 - 1
"""Largest values of settings: beyond any use, but within what a machine survives."""

DEVICE = "auto"
TRACKERS = ("wandb", "mlflow", "swanlab")
"""Packages of the trackers that `--tracker` names; their classes are in `regard.training.callbacks.trackers`."""
IMAGE_SIZE_HELP = "Size of the network's input, in pixels"

ImageSize = Annotated[int, Field(ge=1, le=MOST_SIDE, description=IMAGE_SIZE_HELP), Option(flags=("--imgsz", "--img"))]


def _sides(value: object) -> int | tuple[int, ...]:
    given = re.split(r"[ ,x]+", value.strip()) if isinstance(value, str) else value
    several = given if isinstance(given, list | tuple) else [given]
    sides = tuple(int(str(side)) if re.fullmatch("[0-9]{1,5}", str(side)) else 0 for side in several)
    if len(sides) not in (1, 2) or not all(1 <= side <= MOST_SIDE for side in sides):
        raise ValueError(f"a whole number from 1 to {MOST_SIDE}, or two of them: height,width")
    return sides if len(sides) == 2 else sides[0]


InputSize = Annotated[
    int | tuple[int, int],
    BeforeValidator(_sides),
    Field(description=f"{IMAGE_SIZE_HELP}: of the long side, or height,width, into which every image is fitted"),
    Option(flags=("--imgsz", "--img")),
]


def _several(value: object) -> object:
    return (value,) if isinstance(value, str | int) and not isinstance(value, bool) else value


Classes = Annotated[
    tuple[str, ...],
    Field(description="Classes to keep, by name or index, as in person,car or 0,2; empty keeps all"),
    BeforeValidator(_several),
]
FirstClass = Annotated[
    int, Field(ge=0, description="Class id in YOLO label files that the first name belongs to: 1 if ids start at 1")
]
SingleClass = Annotated[bool, Field(description="Treat all objects as one class")]
Conf = Annotated[
    float, Field(ge=0, le=1, description="Smallest score of a detection"), Option(flags=("--conf", "--conf-thres"))
]
Iou = Annotated[
    float,
    Field(ge=0, le=1, description="IoU above which NMS drops the box with the lower score"),
    Option(flags=("--iou", "--iou-thres")),
]
MaxDet = Annotated[int, Field(ge=1, le=MOST_DETECTIONS, description="Largest number of detections per image")]
MultiLabel = Annotated[bool, Field(description="Make a separate detection for every class above the threshold")]
ClassIndices = Annotated[tuple[int, ...], Field(description="Indices of the classes to keep; empty keeps all")]


def _device_name(value: object) -> object:
    return str(value) if type(value).__name__ == "device" else value  # a torch.device; torch is not imported here


Device = Annotated[str, BeforeValidator(_device_name)]


def _recipe(value: object) -> object:
    return find_recipe(value) if isinstance(value, str | Path) else value


class Thresholds(Settings):
    """Which boxes become detections, in non-maximum suppression (NMS)."""

    conf: Conf = 0.25
    iou: Iou = 0.45
    max_det: MaxDet = 1000
    agnostic_nms: bool = Field(False, description="Let boxes of different classes suppress each other")
    multi_label: MultiLabel = False


class DetectSettings(Thresholds):
    """Which boxes become detections, and of which classes."""

    classes: ClassIndices = ()
    nms: bool = Field(True, description="Drop boxes that overlap a better one")


class ModelSettings(Settings):
    """What a model runs on, and how."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    imgsz: InputSize = IMGSZ
    device: Device = Field(
        DEVICE, description="Device: auto, cpu, cuda, cuda:1 or mps. A loaded detector is moved there, if it is given"
    )
    backend: str = Field(
        "auto",
        description="Runtime for weights on a CPU, such as torch, onnxruntime or openvino. auto: ONNX Runtime, else "
        "OpenVINO, where regard[fast] is installed; the model is compiled once and cached in ~/.cache/regard or "
        "REGARD_CACHE. REGARD_BACKEND overrides auto",
    )
    precision: Literal["float32", "auto"] = Field(
        "float32", description="auto: bfloat16 where it costs at most 0.002 AP on the images of calibration"
    )
    calibration: str | None = Field(None, description="Labelled data set on which precision auto is decided")
    trust: bool = Field(
        False,
        description="Open a TorchScript file that regard did not write for you here: it is a program, and runs",
    )
    nms: bool | None = Field(
        None,
        description="Drop boxes that overlap a better one (the default); with --no-nms, predict with the one-to-one "
        "branch of YOLOv10 and YOLO26, whose boxes need no suppression",
    )

    @model_validator(mode="after")
    def _no_idle_nms(self) -> ModelSettings:
        for name in ("iou", "multi_label"):
            if self.nms is False and name in self.model_fields_set:
                raise ValueError(f"{name} has no effect with --no-nms (in Python: nms=False): leave it out")
        return self


class ValSettings(ModelSettings, Thresholds):
    """A measurement by the COCO protocol, with YOLOv5's settings for it."""

    imgsz: ImageSize = IMGSZ
    split: str = Field("val", description="Split of the data set: train, val or test")
    batch: int = Field(16, ge=1, le=MOST_BATCH, description="Number of images per batch; 1 pads least")
    workers: int = Field(0, ge=0, le=MOST_WORKERS, description="Number of additional threads that read images")
    rect: bool = Field(True, description="Pad each batch only as much as necessary")
    single_cls: SingleClass = False
    classes: Classes = ()
    first_class: FirstClass = 0
    protocol: Literal["coco", "ultralytics"] = Field(
        "coco", description="ultralytics: compute mAP by Ultralytics' rules too, from the same detections"
    )
    save_json: Path | None = Field(None, description="Write the detections to this file in COCO's results format")
    save_errors: Path | None = Field(
        None,
        description="Write labels and detections to this COCO file, each marked as tp, fp or fn at an IoU of 0.5 and a "
        "score of 0.25",
    )
    conf: Conf = 0.001
    iou: Iou = 0.6
    max_det: MaxDet = 300
    multi_label: MultiLabel = True


class PredictSettings(ModelSettings, Thresholds):
    """A detection in images or videos."""

    batch: int = Field(1, ge=1, le=MOST_BATCH, description="Number of images of equal size per batch")
    classes: Classes = ()
    vid_stride: int = Field(1, ge=1, description="Process every so many frames of a video, animation or camera")
    recursive: bool = Field(False, description="Read the subfolders of folders too")


class SaveSettings(Settings):
    """Which files `regard predict` writes."""

    save_images: Annotated[bool, Option(old=("--pictures",))] = Field(
        True, description="Save images and videos with the boxes drawn"
    )
    save_txt: bool = Field(False, description="Save YOLO txt files")
    save_conf: bool = Field(False, description="Save YOLO txt files whose rows end with the score")
    save_crop: bool = Field(False, description="Save each detection, cut out of its image, in crops/ by class")
    save_json: Annotated[bool, Option(old=("--tables",))] = Field(True, description="Save detections.json")
    save_csv: Annotated[bool, Option(old=("--tables",))] = Field(True, description="Save detections.csv")


class ExportSettings(Thresholds):
    """An exported file for another runtime."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    format: str | None = Field(
        None,
        description="Format, such as onnx, openvino or torchscript; that of the output's suffix, or onnx, if not given",
    )
    imgsz: ImageSize = IMGSZ
    static: bool = Field(
        False,
        description="Fix the input to one image of this size, for programs that cannot vary it, such as OpenCV's DNN "
        "module; formats onnx and openvino",
    )
    nms: bool | None = Field(
        None,
        description="Include non-maximum suppression in the file; or, with --no-nms, export the one-to-one branch of "
        "YOLOv10 and YOLO26, whose boxes need none",
    )
    classes: Classes = ()
    opset: int = Field(18, ge=18, le=23, description="Version of the ONNX operator set")
    tolerance: float = Field(1e-4, gt=0, description="Largest relative difference from PyTorch that is accepted")


class TrainSettings(Settings):
    """One training run: budget, input, hardware and what is kept."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    epochs: int = Field(100, ge=1, le=MOST_EPOCHS, description="Number of passes over the training images")
    batch: int = Field(16, ge=1, le=MOST_BATCH, description="Number of images per step, over all processes")
    imgsz: Annotated[ImageSize, Field(ge=32)] = IMGSZ
    seed: int = Field(0, ge=0, le=MOST_SEED, description="Seed of all random choices; the same seed gives the same run")
    device: Device = Field(DEVICE, description="Device: auto, cpu, cuda, cuda:1 or mps")
    devices: int = Field(1, ge=1, le=MOST_WORKERS, description="Number of processes, each on its own device (DDP)")
    precision: Literal["32", "bf16", "fp16", "auto"] = Field(
        "auto",
        description="Precision of the network; the loss is always computed in float32. auto: bfloat16 where the "
        "hardware supports it",
    )
    workers: int = Field(2, ge=0, le=MOST_WORKERS, description="Number of processes that load images")
    cache: Literal["auto", "none", "ram", "disk"] = Field(
        "auto",
        description="Where to keep images decoded and resized: in ram, or on disk in the folder image-cache next to "
        "the run's, which runs share and which may be deleted at any time. auto: ram if they take a small part of it",
    )
    freeze: tuple[str, ...] = Field(
        (), description="Layers that are not trained: names, backbone, or a number of first layers"
    )
    freeze_batchnorm: bool = Field(False, description="Do not update the statistics of batch normalisation")
    multi_scale: bool = Field(False, description="Vary the input size by up to 50 %")
    rect: bool = Field(False, description="Train on batches of similar shape, without mosaic")
    patience: int = Field(100, ge=0, description="Number of epochs without improvement before stopping; 0 never stops")
    autoanchor: bool = Field(True, description="Fit the anchors to the data if they match too few boxes")
    class_weight_power: float = Field(
        0.0,
        ge=0,
        le=4,
        description="Weight each class in the class loss by 1 / (its boxes) to this power; 0 weights all alike",
    )
    single_cls: SingleClass = False
    classes: Classes = ()
    val_fraction: float = Field(
        0.2, gt=0, lt=1, description="Fraction of the images that are validated on, for data that name no val split"
    )
    split_seed: int = Field(0, ge=0, le=MOST_SEED, description="Seed of the choice of these images")
    first_class: FirstClass = 0
    val_every: int = Field(1, ge=1, le=MOST_EPOCHS, description="Number of epochs between validations")
    plots: bool = Field(True, description="Draw labelled batches, predictions and curves")
    recipe: Annotated[Recipe, BeforeValidator(_recipe), Option(flags=("--recipe", "--hyp"))] = Field(
        DEFAULT_RECIPE, description="Recipe: default, scratch, yolov5, ultralytics, or a YOLOv5 hyp.yaml"
    )


def detect_settings(settings: Thresholds, classes: tuple[int, ...] = ()) -> DetectSettings:
    """Select the settings of NMS from those of a command."""
    return DetectSettings(**part_of(settings, Thresholds), classes=classes)


PREDICT = DetectSettings()
"""The settings with which YOLOv5 shows detections."""

EVALUATE = detect_settings(ValSettings())
"""The settings with which YOLOv5 measures AP."""
