"""A learned gate that lets a new layer into a trained network without disturbing it.

y = x + gamma * (module(x) - x), gamma one scalar that starts at 0 (as the residual scale of ReZero, 2003.04887):
at the start y equals x bit for bit, at gamma = 1 y equals module(x).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

GATED = "Gated"
"""What the names of gated classes begin with."""


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


@cache
def gated(layer: type[nn.Module]) -> type[Gated]:
    """Make the class of a layer behind a gate, for builders that construct a layer by one call.

    Args:
        layer: the class of the layer, whose arguments the new class takes.

    Example:
        >>> gated(nn.ReLU).__name__, list(gated(nn.PReLU)(3).state_dict())
        ('GatedReLU', ['gamma', 'module.weight'])
    """

    def start(self: Gated, *args: Any, **options: Any) -> None:
        Gated.__init__(self, layer(*args, **options))

    return type(f"{GATED}{layer.__name__}", (Gated,), {"__init__": start, "__module__": __name__})


def gate_values(model: nn.Module) -> dict[str, float]:
    """Collect the value of every gate in ``model`` by module path."""
    return {path: m.gamma.item() for path, m in model.named_modules() if isinstance(m, Gated)}


def __getattr__(name: str) -> type[Gated]:
    """The class `gated` makes of a layer of the package, so that other packages can pickle ``GatedSE`` and its like."""
    inner = name.removeprefix(GATED)
    if inner != name:  # an import asks for __path__ as well
        from regard.nn.table import LAYERS

        if inner in LAYERS:
            return gated(LAYERS[inner])  # type: ignore[arg-type]  # classes are hashable
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
