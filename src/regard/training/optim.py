"""The optimiser and its schedule.

The schedule is a pure function of the step, so that a resumed run needs nothing but the step's number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from regard.config import OptimSettings
from regard.nn.gate import Gated

Group = Literal["weights", "norms", "biases", "gates"]

_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


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


def parameter_groups(model: nn.Module) -> dict[Group, list[nn.Parameter]]:
    """Group the trainable parameters by their treatment, each once; empty groups are left out.

    "weights" decay. "norms" (parameters of normalisation layers, and every other vector and scalar), "biases" and
    "gates" (``gamma`` of a gated layer) do not.
    """
    groups: dict[Group, list[nn.Parameter]] = {"weights": [], "norms": [], "biases": [], "gates": []}
    for group, parameter in _grouped(model):
        if parameter.requires_grad:
            groups[group].append(parameter)
    return {group: parameters for group, parameters in groups.items() if parameters}


def _grouped(model: nn.Module) -> Iterator[tuple[Group, nn.Parameter]]:
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
            elif isinstance(module, _NORMS) or parameter.ndim < 2:
                yield "norms", parameter
            else:
                yield "weights", parameter


def build_optimizer(model: nn.Module, settings: OptimSettings, batch: int, *, scaled: bool = False) -> Optimizer:
    """Make the optimiser of ``model``; ``set_step`` sets its rates before each step.

    Args:
        model: the model, already on its device.
        settings: which optimiser, and its numbers.
        batch: images per step over all processes. With a nominal batch, decay grows with the images that an update
            gathers, relative to it.
        scaled: whether gradients come multiplied by a scale, as they do in float16.
    """
    decay = settings.weight_decay
    if settings.nominal_batch:
        decay *= batch * _full_accumulation(settings, batch) / settings.nominal_batch
    groups = [
        {"name": name, "params": parameters, "weight_decay": decay if name == "weights" else 0.0}
        for name, parameters in parameter_groups(model).items()
    ]
    # A fused optimiser would unscale gradients itself, after they should have been clipped.
    quick = {"foreach": True} if scaled else {"fused": True}
    if settings.optimizer == "adamw":
        return AdamW(groups, lr=settings.lr, betas=(settings.momentum, 0.999), **quick)
    return SGD(groups, lr=settings.lr, momentum=settings.momentum, nesterov=settings.momentum > 0, **quick)


def schedule(step: int, steps_per_epoch: int, epochs: int, settings: OptimSettings, batch: int) -> Step:
    """Compute the rates for batch number ``step``, counted from 0 over all epochs.

    The learning rate falls from ``lr`` to ``lr * final_lr_fraction``. During the warm-up it rises linearly to that
    curve, from 0, for biases from ``warmup_bias_lr``; momentum and accumulation rise at the same time. The warm-up
    lasts ``warmup_epochs``, and at least ``warmup_min_steps``.

    Args:
        step: which batch.
        steps_per_epoch: batches per epoch.
        epochs: epochs of the whole run.
        settings: the numbers named above.
        batch: images per step over all processes.
    """
    progress = min(step / (steps_per_epoch * epochs), 1.0)
    fallen = progress if settings.schedule == "linear" else (1 - math.cos(math.pi * progress)) / 2
    lr = settings.lr * (1 - fallen * (1 - settings.final_lr_fraction))

    warmup_steps = max(round(settings.warmup_epochs * steps_per_epoch), settings.warmup_min_steps)
    warm = min(step / warmup_steps, 1.0) if warmup_steps else 1.0
    return Step(
        lr={
            "weights": warm * lr,
            "norms": warm * lr,
            "biases": _between(settings.warmup_bias_lr, lr, warm),
            "gates": warm * lr * settings.gate_lr_factor,
        },
        momentum=_between(settings.warmup_momentum, settings.momentum, warm),
        accumulate=round(_between(1, _full_accumulation(settings, batch), warm)),
    )


def set_step(optimizer: Optimizer, step: Step) -> None:
    """Give ``optimizer``, from ``build_optimizer``, the rates of a step."""
    for group in optimizer.param_groups:
        group["lr"] = step.lr[group["name"]]
        if "betas" in group:
            group["betas"] = (step.momentum, group["betas"][1])
        else:
            group["momentum"] = step.momentum


def _full_accumulation(settings: OptimSettings, batch: int) -> int:
    return max(round(settings.nominal_batch / batch), 1)


def _between(start: float, end: float, fraction: float) -> float:
    return start + (end - start) * fraction
