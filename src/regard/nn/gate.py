"""A learned gate that lets a new layer into a trained network without disturbing it.

y = x + gamma * (module(x) - x), gamma one scalar that starts at 0 (as the residual scale of ReZero, 2003.04887):
at the start y equals x bit for bit, at gamma = 1 y equals module(x).
"""

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


def gate_values(model: nn.Module) -> dict[str, float]:
    """Collect the value of every gate in ``model`` by module path."""
    return {path: m.gamma.item() for path, m in model.named_modules() if isinstance(m, Gated)}
