"""A module behind a gate that is closed at the start; see `regard.nn.gate`."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Gated(nn.Module):
    """A shape-preserving module behind a gate that is closed at the start.

    Args:
        module: the gated module; its output has its input's shape.

    Attributes:
        gamma: the gate, a scalar; trained without weight decay and with a separate learning rate.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return x + self.gamma * (self.module(x) - x)
