"""What the tests that hold for the whole catalogue share. New rows of the table are taken up by themselves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from regard.nn.attention import ATTENTION, Attention

FIRST_OF_FAMILY = {kind.card.family: name for name, kind in reversed(ATTENTION.items())}
QUICK_TO_TRACE = {"sparse": "AxialAttention", "low-rank": "Linformer"}
"""Where the first of a family takes long to compile and export, one that does not."""
QUICK_TOO = ("CrissCrossAttention", "EMAttention")
"""Of those with steps that the firsts of their families do not have, quick ones: a softmax over two, groups."""
ALWAYS = {*FIRST_OF_FAMILY.values(), *QUICK_TO_TRACE.values(), *QUICK_TOO} - {
    FIRST_OF_FAMILY[family] for family in QUICK_TO_TRACE
}

every_module = pytest.mark.parametrize("name", ATTENTION)
every_module_slowly = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in ALWAYS else pytest.mark.slow) for n in ATTENTION]
)
"""Every module, of which all but a few of each family are left to ``make test-all``."""


def build(name: str, channels: int = 16, dtype: torch.dtype = torch.float64, **options: Any) -> Attention:
    """Return a module in evaluation mode in which nothing learned is zero, lest a zero hide what stands behind it."""
    module = ATTENTION[name](channels, **options)
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.3)
    return module.to(dtype).eval()


def some(channels: int = 16, size: tuple[int, int] = (5, 7), batch: int = 3) -> Tensor:
    return torch.randn(batch, channels, *size, dtype=torch.float64)


class Operators(TorchDispatchMode):
    """Writes down which operators ran, and the number of elements of the largest tensor that they returned."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.names.add(func.__name__)
        given = result if isinstance(result, tuple) else (result,)
        sizes = [t.untyped_storage().nbytes() // t.element_size() for t in given if isinstance(t, Tensor)]
        self.largest = max(self.largest, *sizes, 0)
        return result
