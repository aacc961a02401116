"""Every setting and its default, in one place: frozen, validated, printable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from regard.errors import RegardError, nearest


class Settings(BaseModel):
    """A group of settings: unknown names are refused, values are checked, nothing changes afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class AugmentSettings(Settings):
    """How training images are varied. Probabilities and fractions are 0..1, angles are degrees."""

    mosaic: float = Field(1.0, ge=0, le=1, description="probability of composing four images")
    mixup: float = Field(0.0, ge=0, le=1, description="probability of blending with a second composition")
    degrees: float = Field(0.0, ge=0, le=180, description="largest rotation")
    translate: float = Field(0.1, ge=0, le=1, description="largest shift, fraction of the size")
    scale: float = Field(0.5, ge=0, lt=1, description="size varies in 1 - scale .. 1 + scale")
    shear: float = Field(0.0, ge=0, le=45)
    perspective: float = Field(0.0, ge=0, le=0.001)
    fliplr: float = Field(0.5, ge=0, le=1)
    flipud: float = Field(0.0, ge=0, le=1)
    hsv_h: float = Field(0.015, ge=0, le=0.5, description="hue, fraction of the circle")
    hsv_s: float = Field(0.7, ge=0, le=1)
    hsv_v: float = Field(0.4, ge=0, le=1)


class LossSettings(Settings):
    """Gains and thresholds of the YOLOv5 loss, before scaling to levels, classes and image size."""

    box: float = Field(0.05, ge=0)
    cls: float = Field(0.5, ge=0)
    obj: float = Field(1.0, ge=0)
    cls_positive_weight: float = Field(1.0, gt=0)
    obj_positive_weight: float = Field(1.0, gt=0)
    anchor_threshold: float = Field(4.0, gt=1, description="largest ratio of box side to anchor side")
    label_smoothing: float = Field(0.0, ge=0, lt=1)


class OptimSettings(Settings):
    """Optimiser, learning-rate schedule and weight averaging."""

    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = Field(0.01, gt=0)
    final_lr_fraction: float = Field(0.01, ge=0, le=1)
    schedule: Literal["linear", "cosine"] = "linear"
    momentum: float = Field(0.937, ge=0, lt=1, description="SGD momentum, or beta1 of AdamW")
    weight_decay: float = Field(5e-4, ge=0)
    warmup_epochs: float = Field(3.0, ge=0)
    warmup_min_steps: int = Field(100, ge=0, description="warm-up lasts at least this many steps")
    warmup_momentum: float = Field(0.8, ge=0, lt=1)
    warmup_bias_lr: float = Field(0.1, ge=0)
    nominal_batch: int = Field(64, ge=0, description="accumulate to this many images a step; 0 steps every batch")
    gate_lr_factor: float = Field(1.0, gt=0, description="learning rate of a gate's gamma, relative to lr")
    clip_norm: float = Field(10.0, ge=0, description="largest gradient norm; 0 turns clipping off")
    ema_decay: float = Field(0.9999, ge=0, lt=1)
    ema_tau: float = Field(2000.0, gt=0, description="decay * (1 - exp(-updates / tau))")


class Recipe(Settings):
    """All that decides how a model learns, apart from model, data and budget."""

    name: str
    augment: AugmentSettings = AugmentSettings()
    loss: LossSettings = LossSettings()
    optim: OptimSettings = OptimSettings()
    close_mosaic: int = Field(0, ge=0, description="last epochs trained without mosaic and mixup")


YOLOV5_RECIPE = Recipe(name="yolov5")
"""The defaults of YOLOv5 v6, for comparison with its results."""

DEFAULT_RECIPE = Recipe(
    name="default",
    optim=OptimSettings(
        optimizer="adamw",
        lr=1e-3,
        schedule="cosine",
        momentum=0.9,
        weight_decay=0.01,
        warmup_epochs=1.0,
        warmup_min_steps=0,
        warmup_momentum=0.9,
        warmup_bias_lr=1e-3,
        nominal_batch=0,
        gate_lr_factor=10.0,
        ema_decay=0.999,
        ema_tau=200.0,
    ),
    close_mosaic=3,
)
"""The project's own, which also learns on a few hundred images: it steps every batch and warms up for one epoch."""


class TrainSettings(Settings):
    """One training run: budget, input, hardware and what to keep."""

    epochs: int = Field(100, ge=1)
    batch: int = Field(16, ge=1, description="images a step over all processes")
    imgsz: int = Field(640, ge=32)
    seed: int = Field(0, ge=0)
    device: str = "auto"
    devices: int = Field(1, ge=1, description="processes")
    precision: Literal["32", "bf16", "fp16", "auto"] = Field(
        "auto", description="of the network; auto is bfloat16 where the hardware has it"
    )
    workers: int = Field(2, ge=0)
    cache: Literal["auto", "none", "ram", "disk"] = Field(
        "auto", description="where decoded images are kept; auto is ram where they take a small part of it"
    )
    multi_scale: bool = False
    rect: bool = False
    freeze: tuple[str, ...] = Field((), description="names of layers that do not learn")
    freeze_batchnorm: bool = False
    patience: int = Field(100, ge=0, description="epochs without a better result before stopping; 0 never stops")
    autoanchor: bool = True
    single_cls: bool = False
    classes: tuple[str, ...] = Field((), description="names or indices of the classes kept")
    val_every: int = Field(1, ge=1)
    plots: bool = True
    recipe: Recipe = DEFAULT_RECIPE


class DetectSettings(Settings):
    """Which decoded boxes become detections."""

    conf: float = Field(0.25, ge=0, le=1)
    iou: float = Field(0.45, ge=0, le=1)
    max_det: int = Field(1000, ge=1)
    agnostic_nms: bool = False
    multi_label: bool = False
    classes: tuple[int, ...] = ()


EVALUATE = DetectSettings(conf=0.001, iou=0.6, max_det=300, multi_label=True)
"""The settings by which YOLOv5 measures AP."""


S = TypeVar("S", bound=Settings)


def checked(kind: type[S], values: Mapping[str, Any]) -> S:
    """Return settings made of what a user gave.

    Raises:
        RegardError: an unknown name (the nearest is suggested) or a bad value.
    """
    for name in values:
        if name not in kind.model_fields:
            known = ", ".join(kind.model_fields)
            raise RegardError(f"unknown setting {name!r}", expected=known, hint=nearest(name, kind.model_fields))
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise RegardError(f"{'.'.join(map(str, first['loc']))} is {first['input']!r}", expected=first["msg"]) from error


def require_positive(**values: int) -> None:
    """Check numbers that count something.

    Raises:
        RegardError: one is below 1.
    """
    for name, value in values.items():
        if value < 1:
            raise RegardError(f"{name} is {value}", expected="a positive whole number")


def describe(settings: Settings) -> dict[str, Any]:
    """Return ``settings`` as plain, JSON-ready values."""
    return settings.model_dump(mode="json")
