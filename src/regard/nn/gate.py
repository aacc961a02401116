"""A learned gate that lets a new layer into a trained network without disturbing it.

y = x + gamma * (module(x) - x), gamma one scalar that starts at 0 (as the residual scale of ReZero, 2003.04887):
at the start y equals x bit for bit, at gamma = 1 y equals module(x).
"""

from __future__ import annotations

from functools import cache
from typing import Any

from torch import nn

from regard.nn.gated import Gated

__all__ = ["GATED", "Gated", "gate_values", "gated", "without_gate"]

GATED = "Gated"
"""What the names of gated classes begin with."""


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


def without_gate(layer: nn.Module) -> nn.Module:
    """The layer behind a gate; a layer without a gate is returned as it is."""
    return layer.module if isinstance(layer, Gated) else layer


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
