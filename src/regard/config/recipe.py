"""How a model learns: augmentation, loss and optimiser, grouped as recipes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from regard.config.base import Settings


class AugmentSettings(Settings):
    """How training images are augmented."""

    renamed: ClassVar[Mapping[str, str]] = {"flip_lr": "fliplr", "flip_ud": "flipud"}

    mosaic: float = Field(1.0, ge=0, le=1, description="Probability of composing four images into one")
    mixup: float = Field(0.0, ge=0, le=1, description="Probability of blending with a second mosaic")
    degrees: float = Field(0.0, ge=0, le=180, description="Largest rotation, in degrees")
    translate: float = Field(0.1, ge=0, le=1, description="Largest shift, as a fraction of the image size")
    scale: float = Field(0.5, ge=0, lt=1, description="Largest relative change of size: 1 - scale to 1 + scale")
    shear: float = Field(0.0, ge=0, le=45, description="Largest shear, in degrees")
    perspective: float = Field(0.0, ge=0, le=0.001, description="Largest perspective coefficient, per pixel")
    fliplr: float = Field(0.5, ge=0, le=1, description="Probability of a left-right flip")
    flipud: float = Field(0.0, ge=0, le=1, description="Probability of an up-down flip")
    hsv_h: float = Field(0.015, ge=0, le=0.5, description="Largest shift of the hue, as a fraction of the circle")
    hsv_s: float = Field(0.7, ge=0, le=1, description="Largest relative change of the saturation")
    hsv_v: float = Field(0.4, ge=0, le=1, description="Largest relative change of the brightness")


class AnchorFreeLossSettings(Settings):
    """Gains of the losses of anchor-free heads."""

    box: float = Field(7.5, ge=0, description="Gain of the box loss")
    cls: float = Field(0.5, ge=0, description="Gain of the class loss")
    dfl: float = Field(1.5, ge=0, description="Gain of the loss of the distances to the sides")


class LossSettings(Settings):
    """Gains and thresholds of the YOLOv5 loss, before they are scaled to levels, classes and image size."""

    box: float = Field(0.05, ge=0, description="Gain of the box loss")
    cls: float = Field(0.5, ge=0, description="Gain of the class loss")
    obj: float = Field(1.0, ge=0, description="Gain of the objectness loss")
    cls_positive_weight: float = Field(1.0, gt=0, description="Weight of positives in the class loss")
    obj_positive_weight: float = Field(1.0, gt=0, description="Weight of positives in the objectness loss")
    anchor_threshold: float = Field(4.0, gt=1, description="Largest ratio of a box side to an anchor side")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Amount by which class targets are smoothed")
    anchor_free: AnchorFreeLossSettings = AnchorFreeLossSettings()


class OptimSettings(Settings):
    """Optimiser, learning-rate schedule and weight averaging."""

    optimizer: Literal["sgd", "adamw", "musgd", "auto"] = Field(
        "sgd",
        description="Optimiser; SGD uses Nesterov momentum, MuSGD adds orthogonalised steps of matrices. auto: AdamW "
        "up to 10,000 updates, else MuSGD, with rates of their own",
    )
    lr: float = Field(0.01, gt=0, description="Learning rate after warm-up")
    final_lr_fraction: float = Field(0.01, ge=0, le=1, description="Last learning rate, as a fraction of lr")
    schedule: Literal["linear", "cosine"] = Field("linear", description="Shape of the learning-rate decay")
    momentum: float = Field(0.937, ge=0, lt=1, description="Momentum of SGD, or beta1 of AdamW")
    weight_decay: float = Field(5e-4, ge=0, description="Weight decay; not applied to biases, norms and gates")
    decay_vectors: bool = Field(False, description="Apply weight decay to other vectors and scalars, too")
    warmup_epochs: float = Field(3.0, ge=0, description="Length of the warm-up, in epochs")
    warmup_min_steps: int = Field(100, ge=0, description="Smallest length of the warm-up, in steps")
    warmup_momentum: float = Field(0.8, ge=0, lt=1, description="Momentum at the start of the warm-up")
    warmup_bias_lr: float = Field(0.1, ge=0, description="Learning rate of biases at the start of the warm-up")
    whole_epochs: bool = Field(
        False,
        description="Keep the learning rate constant within an epoch, end the warm-up before the last epoch, and count "
        "no more batches per update than the run has",
    )
    nominal_batch: int = Field(
        64, ge=0, description="Accumulate gradients over this many images per update; 0 updates after every batch"
    )
    gate_lr_factor: float = Field(1.0, gt=0, description="Learning rate of a gate's gamma, relative to lr")
    class_lr_factor: float = Field(
        3.0, gt=0, description="Learning rate of the class branches of anchor-free heads under MuSGD, relative to lr"
    )
    clip_norm: float = Field(10.0, ge=0, description="Largest gradient norm; 0 disables clipping")
    ema_decay: float = Field(0.9999, ge=0, lt=1, description="Largest decay of the averaged weights (EMA)")
    ema_tau: float = Field(2000.0, gt=0, description="Updates over which it is reached: decay (1 - exp(-n / tau))")


class Recipe(Settings):
    """Everything that decides how a model learns, apart from model, data and budget."""

    name: str = Field(description="Name that is shown and stored")
    augment: AugmentSettings = AugmentSettings()
    loss: LossSettings = LossSettings()
    optim: OptimSettings = OptimSettings()
    close_mosaic: int = Field(0, ge=0, description="Number of last epochs without mosaic and mixup")


YOLOV5_RECIPE = Recipe(name="yolov5")
"""The defaults of YOLOv5 v6, for comparison with its results."""

ULTRALYTICS_RECIPE = Recipe(
    name="ultralytics",
    optim=OptimSettings(optimizer="auto", warmup_min_steps=0, decay_vectors=True, whole_epochs=True),
    close_mosaic=10,
)
"""The defaults of Ultralytics 8.4 for YOLOv8 to YOLO26, for comparison with its results."""

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
"""The project's own recipe, which also works on a few hundred images: it updates after every batch."""

SCRATCH_RECIPE = DEFAULT_RECIPE.model_copy(
    update={"name": "scratch", "optim": DEFAULT_RECIPE.optim.model_copy(update={"lr": 2e-3})}
)
"""The default recipe with twice the learning rate, for random weights of YOLOv8 and later; chosen on val of BCCD and of
playing cards (docs/results/anchor-free-recipes.md)."""
