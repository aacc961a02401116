"""From scores to weights: what stands where the softmax usually stands. A new one is one function and one row.

Each takes scores of shape (..., queries, keys) and, where some keys may not be seen, a boolean mask that broadcasts
to that shape, True where they may. A masked key gets a weight of exactly zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from regard.errors import RegardError, nearest

Normaliser = Callable[[Tensor, Tensor | None], Tensor]


def softmax(scores: Tensor, allowed: Tensor | None = None) -> Tensor:
    """exp(s_j) / sum over j of exp(s_j): rows sum to 1 (1706.03762, equation 1)."""
    return _masked(scores, allowed, -torch.inf).softmax(-1)


def relu(scores: Tensor, allowed: Tensor | None = None) -> Tensor:
    """max(s_j, 0) / N over the N keys that may be seen (2309.08586): rows need not sum to 1."""
    return _masked(scores, allowed, 0.0).relu() / _count(scores, allowed)


def squared_relu(scores: Tensor, allowed: Tensor | None = None) -> Tensor:
    """max(s_j, 0)^2 / N over the N keys that may be seen (2202.10447, section 3.1)."""
    return _masked(scores, allowed, 0.0).relu().square() / _count(scores, allowed)


def sigmoid(scores: Tensor, allowed: Tensor | None = None) -> Tensor:
    """1 / (1 + exp(log N - s_j)) over the N keys that may be seen (2409.04431, equation 3 with b = -log N)."""
    shifted = scores - torch.as_tensor(_count(scores, allowed), dtype=scores.dtype, device=scores.device).log()
    return _masked(shifted, allowed, -torch.inf).sigmoid()


def _masked(scores: Tensor, allowed: Tensor | None, value: float) -> Tensor:
    return scores if allowed is None else scores.masked_fill(~allowed, value)


def _count(scores: Tensor, allowed: Tensor | None) -> Tensor | int:
    """Return the number of keys that each query may see, (..., 1) or one number for all."""
    return scores.shape[-1] if allowed is None else allowed.sum(-1, keepdim=True).clamp(min=1)


NORMALISERS: Mapping[str, Normaliser] = MappingProxyType(
    {"softmax": softmax, "relu": relu, "squared_relu": squared_relu, "sigmoid": sigmoid}
)


def choose_normaliser(name: str) -> Normaliser:
    """Return the normaliser of this name.

    Raises:
        RegardError: there is none.
    """
    if name not in NORMALISERS:
        expected = "one of " + ", ".join(NORMALISERS)
        raise RegardError(f"unknown normaliser {name!r}", expected=expected, hint=nearest(name, NORMALISERS))
    return NORMALISERS[name]
