"""The optimiser and its schedule.

The schedule is a pure function of the step, so that a resumed run needs nothing but the step's number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from regard.config import OptimSettings
from regard.graph.detector import Detector
from regard.nn.gate import Gated
from regard.training.musgd import MuSGD

Treatment = Literal["weights", "matrices", "norms", "biases", "gates"]
Group = Treatment | Literal["class_weights", "class_matrices", "class_norms", "class_biases"]
"""How parameters are treated; those of class branches are apart where their learning rate differs."""

_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)

MOST_ADAMW_UPDATES = 10_000
"""Length of a run, in updates, up to which "auto" chooses AdamW."""


@dataclass(frozen=True)
class Step:
    """The rates for one batch of the training.

    Attributes:
        lr: learning rate of each group of parameters.
        momentum: SGD's momentum, AdamW's beta1.
        accumulate: number of batches per update of the weights.
    """

    lr: Mapping[Group, float]
    momentum: float
    accumulate: int


@dataclass(frozen=True)
class Length:
    """How long a run is.

    Attributes:
        steps: batches per epoch.
        epochs: epochs of the whole run.
        batch: images per step over all processes.
    """

    steps: int
    epochs: int
    batch: int


def choose_optimizer(settings: OptimSettings, length: Length, images: int, classes: int) -> OptimSettings:
    """Decide what "auto" is: AdamW with a rate for the number of classes, or in long runs MuSGD.

    Both replace ``lr`` and start biases from rate 0. The rule is Ultralytics'; other settings are returned as they are.

    Args:
        settings: of the recipe.
        length: of the run.
        images: number of training images.
        classes: number of classes.

    Example:
        >>> auto = OptimSettings(optimizer="auto")
        >>> choose_optimizer(auto, Length(8, 100, 16), images=128, classes=80).lr
        0.000119
    """
    if settings.optimizer != "auto":
        return settings
    updates = math.ceil(images / max(length.batch, settings.nominal_batch, 1)) * length.epochs
    if updates <= MOST_ADAMW_UPDATES:
        chosen = {"optimizer": "adamw", "lr": round(0.01 / (4 + classes), 6), "momentum": 0.9, "warmup_momentum": 0.9}
    else:  # after a warm-up, which a single epoch does not have, the momentum is that of the settings
        chosen = {"optimizer": "musgd", "lr": 0.01, "momentum": settings.momentum if length.epochs > 1 else 0.9}
    return settings.model_copy(update={**chosen, "warmup_bias_lr": 0.0})


def parameter_groups(model: nn.Module, settings: OptimSettings | None = None) -> dict[Group, list[nn.Parameter]]:
    """Group the trainable parameters by their treatment, each once; empty groups are left out.

    "weights" and "matrices" decay. "norms" (parameters of normalisation layers, and every other vector and scalar
    unless ``decay_vectors``), "biases" and "gates" (``gamma`` of a gated layer) do not. MuSGD has "matrices", tensors
    of two or four dimensions of any layer, and keeps the groups of a detector's class branches apart.
    """
    settings = settings or OptimSettings()
    is_musgd = settings.optimizer == "musgd"
    of_classes = set(model.head.class_parameters()) if is_musgd and isinstance(model, Detector) else set()
    groups: dict[Group, list[nn.Parameter]] = {group: [] for group in get_args(Treatment)}
    for group, parameter in _grouped(model, settings.decay_vectors):
        if not parameter.requires_grad:
            continue
        treatment: Treatment = "matrices" if is_musgd and group != "gates" and parameter.ndim in (2, 4) else group
        key = _of_classes(treatment) if parameter in of_classes else treatment
        groups.setdefault(key, []).append(parameter)
    return {group: parameters for group, parameters in groups.items() if parameters}


def _of_classes(group: Treatment) -> Group:
    found: Mapping[Treatment, Group] = {
        "weights": "class_weights",
        "matrices": "class_matrices",
        "norms": "class_norms",
        "biases": "class_biases",
    }
    return found.get(group, group)


def _grouped(model: nn.Module, decay_vectors: bool) -> Iterator[tuple[Treatment, nn.Parameter]]:
    seen: set[nn.Parameter] = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter in seen:
                continue
            seen.add(parameter)
            if isinstance(module, Gated) and name == "gamma":
                yield "gates", parameter
            elif name.endswith("bias"):
                yield "biases", parameter
            elif isinstance(module, _NORMS) or (parameter.ndim < 2 and not decay_vectors):
                yield "norms", parameter
            else:
                yield "weights", parameter


def build_optimizer(model: nn.Module, settings: OptimSettings, length: Length, *, scaled: bool = False) -> Optimizer:
    """Make the optimiser of ``model``; ``set_step`` sets its rates before each step.

    Args:
        model: the model, already on its device.
        settings: which optimiser, and its numbers; not "auto".
        length: of the run. With a nominal batch, decay grows with the images that an update gathers, relative to it.
        scaled: whether gradients come multiplied by a scale, as they do in float16.
    """
    decay = settings.weight_decay
    if settings.nominal_batch:
        decay *= length.batch * _full_accumulation(settings, length) / settings.nominal_batch
    groups: list[dict[str, Any]] = [
        {"name": name, "params": parameters, "weight_decay": decay if name.endswith(("weights", "matrices")) else 0.0}
        for name, parameters in parameter_groups(model, settings).items()
    ]
    if settings.optimizer == "musgd":
        groups = [{**group, "matrices": group["name"].endswith("matrices")} for group in groups]
        return MuSGD(groups, lr=settings.lr, momentum=settings.momentum)
    # A fused optimiser would unscale gradients itself, after they should have been clipped.
    quick = {"foreach": True} if scaled else {"fused": True}
    if settings.optimizer == "adamw":
        return AdamW(groups, lr=settings.lr, betas=(settings.momentum, 0.999), **quick)
    return SGD(groups, lr=settings.lr, momentum=settings.momentum, nesterov=settings.momentum > 0, **quick)


def schedule(step: int, settings: OptimSettings, length: Length) -> Step:
    """Compute the rates for batch number ``step``, counted from 0 over all epochs.

    The learning rate falls from ``lr`` to ``lr * final_lr_fraction``. During the warm-up it rises linearly to that
    curve, from 0, for biases from ``warmup_bias_lr``; momentum and accumulation rise at the same time. The warm-up
    lasts ``warmup_epochs``, and at least ``warmup_min_steps``.

    Args:
        step: which batch.
        settings: the numbers named above.
        length: of the run.
    """
    at = step - step % length.steps if settings.whole_epochs else step
    progress = min(at / (length.steps * length.epochs), 1.0)
    fallen = progress if settings.schedule == "linear" else (1 - math.cos(math.pi * progress)) / 2
    lr = settings.lr * (1 - fallen * (1 - settings.final_lr_fraction))

    epochs = min(settings.warmup_epochs, length.epochs - 1) if settings.whole_epochs else settings.warmup_epochs
    warmup_steps = max(round(epochs * length.steps), settings.warmup_min_steps)
    warm = min(step / warmup_steps, 1.0) if warmup_steps else 1.0
    rates: dict[Group, float] = {
        "weights": warm * lr,
        "norms": warm * lr,
        "biases": _between(settings.warmup_bias_lr, lr, warm),
        "gates": warm * lr * settings.gate_lr_factor,
    }
    if settings.optimizer == "musgd":
        fast = lr * settings.class_lr_factor
        rates |= {"matrices": warm * lr, "class_weights": warm * fast, "class_matrices": warm * fast}
        rates |= {"class_norms": warm * fast, "class_biases": _between(settings.warmup_bias_lr, fast, warm)}
    return Step(
        lr=rates,
        momentum=_between(settings.warmup_momentum, settings.momentum, warm),
        accumulate=round(_between(1, _full_accumulation(settings, length), warm)),
    )


def set_step(optimizer: Optimizer, step: Step) -> None:
    """Give ``optimizer``, from ``build_optimizer``, the rates of a step."""
    for group in optimizer.param_groups:
        group["lr"] = step.lr[group["name"]]
        if "betas" in group:
            group["betas"] = (step.momentum, group["betas"][1])
        else:
            group["momentum"] = step.momentum


def _full_accumulation(settings: OptimSettings, length: Length) -> int:
    full = max(round(settings.nominal_batch / length.batch), 1)
    return min(full, length.steps * length.epochs) if settings.whole_epochs else full


def _between(start: float, end: float, fraction: float) -> float:
    return start + (end - start) * fraction
