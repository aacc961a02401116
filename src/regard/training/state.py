"""The state of a run, and its check before it is loaded: a damaged file must not reach an optimiser's C++ code."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from regard.errors import RegardError
from regard.training.callbacks.events import EpochRow

MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What AdamW keeps for each parameter; all but the first have its shape, as those of SGD and MuSGD do."""


@dataclass
class State:
    """What changes during training, apart from weights: what is needed to resume it.

    Attributes:
        epoch: number of finished epochs.
        rows: the results so far.
        best: the best fitness so far, and the epoch that had it, counted from 0.
    """

    epoch: int
    rows: list[EpochRow]
    best: tuple[float, int]

    def finish(self, row: EpochRow, fitness: float) -> bool:
        """Add the results of an epoch, and decide whether it is the best; while nothing is found, the last one is.

        Args:
            row: the results.
            fitness: NaN where the epoch was not validated.
        """
        self.rows.append(row)
        is_best = fitness > self.best[0] or self.best[0] <= 0 == fitness
        if is_best:
            self.best = (fitness, self.epoch)
        self.epoch += 1
        return is_best

    def is_stalled(self, patience: int, every: int) -> bool:
        """Whether nothing has improved for ``patience`` epochs, up to the last validated one; never while AP is 0.

        Args:
            patience: number of epochs; 0 for any number.
            every: number of epochs between validations.
        """
        validated = self.epoch // every * every - 1
        return self.best[0] > 0 and 0 < patience <= validated - self.best[1]


def checked_state(
    state: Mapping[str, Any], file: Path, *, template: Mapping[str, Any], optimizer: Optimizer, epochs: int
) -> dict[str, Any]:
    """Check that a state has the structure, shapes, types and finite numbers of the run that is to continue.

    Args:
        state: as ``load_state`` read it.
        file: for error messages.
        template: what the run that has just been set up would write.
        optimizer: that of the run. Its groups are taken from here; they follow from the settings.
        epochs: number of epochs of the run.

    Returns:
        what may be loaded.

    Raises:
        RegardError: something differs; the message names it.
    """
    try:
        for name in ("model", "ema", "precision"):
            _check_like(state.get(name), template[name], name)
        moments = _moments(state.get("optimizer"), optimizer)
        epoch, rows, best = state.get("epoch"), state.get("rows"), state.get("best")
        if not isinstance(epoch, int) or isinstance(epoch, bool) or not 0 <= epoch <= epochs:
            raise ValueError(f"epoch is {epoch!r:.80}, of {epochs}")
        if not isinstance(rows, list) or not all(map(_is_row, rows)):
            raise ValueError("rows are no rows of numbers")
        if not isinstance(best, list) or len(best) != 2 or not _is_number(best[0]) or not _is_whole(best[1]):
            raise ValueError(f"best is {best!r:.80}")
    except ValueError as error:
        hint = "start a new run; the weights in its folder can be its start"
        raise RegardError(f"the training state is damaged: {error}", file=file, hint=hint) from error
    groups = optimizer.state_dict()["param_groups"]
    return {**{name: state[name] for name in template}, "optimizer": {"state": moments, "param_groups": groups}}


def _check_like(value: Any, template: Any, place: str) -> None:
    if isinstance(template, Tensor):
        _check_tensor(value, template, place)
    elif isinstance(template, Mapping):
        if not isinstance(value, Mapping) or value.keys() != template.keys():
            raise ValueError(f"{place} has other entries than the run")
        for key, part in template.items():
            _check_like(value[key], part, f"{place}/{key}")
    elif isinstance(template, int | float):
        if not _is_number(value) or not 0 <= value < 2**63 or (isinstance(template, int) and not _is_whole(value)):
            raise ValueError(f"{place} is {value!r:.80}")
    elif type(value) is not type(template):
        raise ValueError(f"{place} is {value!r:.80}")


def _check_tensor(value: Any, like: Tensor, place: str) -> None:
    if not isinstance(value, Tensor):
        raise ValueError(f"{place} is {value!r:.80}, not a tensor")
    if value.shape != like.shape or value.dtype != like.dtype:
        found, expected = (f"{tuple(tensor.shape)} of {tensor.dtype}" for tensor in (value, like))
        raise ValueError(f"{place} is {found}, not {expected}")
    if value.is_floating_point() and not torch.isfinite(value).all():
        raise ValueError(f"{place} has numbers that are not finite")


def _moments(value: Any, optimizer: Optimizer) -> dict[int, dict[str, Any]]:
    """Check what the optimiser keeps for each parameter; by the parameter's number."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    found = value.get("state") if isinstance(value, Mapping) else None
    if not isinstance(found, Mapping):
        raise ValueError("optimizer has no state")
    expected = [_kept(optimizer, group) for group in optimizer.param_groups for _ in group["params"]]
    for number, moments in found.items():
        place = f"optimizer/state/{number!r:.40}"
        if not _is_whole(number) or not 0 <= number < len(parameters) or not isinstance(moments, Mapping):
            raise ValueError(f"{place} belongs to no parameter")
        if moments.keys() != expected[number]:
            raise ValueError(f"{place} has the entries {', '.join(map(str, moments))!r:.200}")
        for name, moment in moments.items():
            if moment is None and name == "momentum_buffer":
                continue
            like = torch.zeros(()) if name == "step" else parameters[number]
            _check_tensor(moment, like, f"{place}/{name}")
            if name in ("step", "exp_avg_sq") and bool((moment < 0).any()):
                raise ValueError(f"{place}/{name} is negative")
    return {number: dict(moments) for number, moments in found.items()}


def _kept(optimizer: Optimizer, group: Mapping[str, Any]) -> set[str]:
    """Names of what an optimiser keeps for each parameter of a group."""
    if isinstance(optimizer, torch.optim.AdamW):
        return set(MOMENTS)
    return {"momentum_buffer", "average"} if group.get("matrices") else {"momentum_buffer"}


def _is_row(row: object) -> bool:
    return isinstance(row, dict) and all(isinstance(key, str) for key in row) and all(map(_is_value, row.values()))


def _is_value(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, float) or value.bit_length() <= 64  # a longer one is no float


def _is_number(value: object) -> bool:
    return _is_value(value) and math.isfinite(value)  # type: ignore[arg-type]


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and _is_value(value)
