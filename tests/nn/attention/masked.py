"""Plain attention to the whole map under an explicit mask: the reference of every sparse kind."""

from __future__ import annotations

import copy
from itertools import product
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from regard.nn.attention.core import merge_heads, to_map
from regard.nn.attention.multi_head import MultiHead

Kind = TypeVar("Kind", bound=MultiHead)
SIZES = [(1, 1), (1, 7), (13, 9), (5, 17), (16, 8)]


def under_mask(module: MultiHead, x: Tensor, allowed: Tensor | None = None) -> Tensor:
    """Return the output of plain attention with ``module``'s projections, heads and positions.

    Args:
        module: gives the mask by ``reach``, query by query, unless ``allowed`` is given.
        x: (B, C, H, W).
        allowed: (N, N) or (heads, N, N), True where a query sees a key.
    """
    size = (x.shape[2], x.shape[3])
    if allowed is None:
        rows = [module.attention_mask(query, size).flatten(-2) for query in product(*map(range, size))]
        allowed = torch.stack(rows, -2)
    q, k, v = module.project(x)
    scores = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).masked_fill(~allowed, -torch.inf)
    return to_map(module.out(merge_heads(F.softmax(scores, -1) @ v)), size)


def close(found: Tensor, expected: Tensor, atol: float = 1e-12) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


def agrees(module: MultiHead, size: tuple[int, int]) -> None:
    """Check output and gradients in float64 to 1e-12, and the output in float32 to 1e-5."""
    module = module.double()
    ours, theirs = (x := torch.randn(2, module.in_channels, *size).double()).clone(), x.clone()
    ours.requires_grad_()
    theirs.requires_grad_()
    found, expected = module(ours), under_mask(module, theirs)
    close(found, expected)
    upstream = torch.randn_like(found)
    close(*torch.autograd.grad(found, ours, upstream), *torch.autograd.grad(expected, theirs, upstream))
    close(copy.deepcopy(module).float()(x.float()), expected.float(), 1e-5)


def keys_of(module: MultiHead, query: tuple[int, int], size: tuple[int, int]) -> set[tuple[int, int]]:
    return {(int(r), int(c)) for r, c in module.attention_mask(query, size).nonzero()}
