"""Slow references for attention that sees a rectangle."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from regard.nn.attention.core import attention_weights, merge_heads, to_map
from regard.nn.attention.multi_head import MultiHead
from regard.nn.attention.position import OffsetBias


def global_under_mask(block: MultiHead, x: Tensor) -> Tensor:
    """Plain attention under the explicit N x N mask of ``attention_mask``, and with the explicit N x N bias."""
    height, width = size = (x.shape[2], x.shape[3])
    places = [(i, j) for i in range(height) for j in range(width)]
    mask = torch.stack([block.attention_mask(place, size).flatten() for place in places])
    rows, columns = torch.tensor(places).T
    bias = None
    if isinstance(block.position, OffsetBias):
        bias = block.position.at(rows[None] - rows[:, None], columns[None] - columns[:, None])
    q, k, v = block.project(x)
    weights = attention_weights(q, k, bias=bias, allowed=mask)
    for at in {0, len(places) // 3, len(places) - 1}:  # the maps are the same rows
        row = block.attention(x, places[at]).weights[:, :, 0].flatten(2)
        torch.testing.assert_close(row, weights[:, :, at], rtol=0, atol=1e-12)
        assert not row[..., ~mask[at]].any()
    return to_map(block.out(merge_heads(weights @ v)), size)


def by_loops(
    block: MultiHead,
    x: Tensor,
    seen: Callable[[int, int], range],
    bias: Callable[[int, int, int], Tensor],
) -> Tensor:
    """Return attention query by query: ``seen(i, n)`` along each axis, ``bias(head, row offset, column offset)``."""
    height, width = x.shape[2:]
    q, k, v = (t.unflatten(2, (height, width)) for t in block.project(x))
    mixed = torch.zeros_like(v)
    for head in range(block.num_heads):
        for i in range(height):
            for j in range(width):
                keys = [(y, z) for y in seen(i, height) for z in seen(j, width)]
                scale = math.sqrt(q.shape[-1])
                scores = [
                    (q[:, head, i, j] * k[:, head, y, z]).sum(-1) / scale + bias(head, y - i, z - j) for y, z in keys
                ]
                weights = torch.stack(scores).softmax(0)
                for weight, (y, z) in zip(weights, keys, strict=True):
                    mixed[:, head, i, j] += weight[:, None] * v[:, head, y, z]
    return to_map(block.out(merge_heads(mixed.flatten(2, 3))), (height, width))
