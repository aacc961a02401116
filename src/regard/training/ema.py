"""An exponential moving average of a model's weights (Polyak and Juditsky, 1992; here with a rising decay)."""

from __future__ import annotations

import math
from copy import deepcopy
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn


class Ema:
    """A copy of a model that follows it slowly.

    At update number n the copy keeps decay * (1 - exp(-n / tau)) of itself and takes the rest from the model: at first
    it follows closely. The running statistics of normalisation layers are averaged with the weights that they
    belong to; what is not floating-point is copied.

    Args:
        model: the model to follow.
        decay: the largest share that the copy keeps.
        tau: updates after which the share has reached 63 % of ``decay``.

    Attributes:
        model: the average, in evaluation mode, without gradients.
        updates: how often it has been updated.
    """

    def __init__(self, model: nn.Module, decay: float = 0.9999, tau: float = 2000.0) -> None:
        self.model = deepcopy(model).eval().requires_grad_(False)
        self.decay, self.tau, self.updates = decay, tau, 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards ``model``."""
        self.updates += 1
        average: list[Tensor] = []
        current: list[Tensor] = []
        for ours, theirs in zip(_tensors(self.model), _tensors(model), strict=True):
            if ours.is_floating_point():
                average.append(ours)
                current.append(theirs)
            else:
                ours.copy_(theirs)
        keep = self.decay * (1 - math.exp(-self.updates / self.tau))
        torch._foreach_lerp_(average, current, 1 - keep)  # one call for all tensors, as torch.optim.swa_utils does

    def state_dict(self) -> dict[str, Any]:
        """State for a resumed run, as plain values and tensors."""
        return {"updates": self.updates, "model": self.model.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what ``state_dict`` returned."""
        self.updates = state["updates"]
        self.model.load_state_dict(state["model"])


def _tensors(model: nn.Module) -> chain[Tensor]:
    return chain(model.parameters(), model.buffers())
