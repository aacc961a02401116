"""Sinkhorn attention: blocks see themselves and a sorted map (Tay et al., 2002.11296, sections 3.1 and 3.3), on maps.

R_tu = mean(q in block t) . mean(k in block u) / (sqrt(d) tau);  S = Sinkhorn(exp R), by rows and columns in turn;
K'_t = sum_u S_tu K_u, V' likewise;  b_i = sum over j in (K_t, K'_t) of softmax_j(q_i . k_j / sqrt(d)) v_j, for i in t.

S is a relaxed permutation of the T blocks: its rows and columns sum to 1 (rows exactly, columns as far as the
iterations came), and with falling tau each block gets one block more than itself. With one block S = 1, and this is
plain attention. Cost is 8 C N w^2 for windows of w x w, and 4 C N^2 / w^2 for sorting.

Deviations: blocks are windows of the map; R comes from queries and keys, so that it suits any number of blocks, where
the paper learns a layer of T outputs (equation 3); no Gumbel noise, no mixture with plain attention, no causality. Of
windows that are not full, only what is on the map is mixed, slot by slot, so that padding gets no weight. ``attention``
gives the weights of positions that the mixtures imply.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.errors import RegardError
from regard.nn.attention.core import (
    Card,
    Size,
    attention_weights,
    ceil_div,
    check_at_least,
    fused_attention,
    no_autocast,
)
from regard.nn.attention.multi_head import MultiHead
from regard.nn.attention.partition import Axis, gather, pairs, put_back, seen_by, slots
from regard.nn.attention.position import check_pos_embed
from regard.nn.precision import at_least_float32

TINY = 1e-20
"""Share of a slot below which it counts as empty."""


@dataclass(frozen=True)
class Sorting:
    """Blocks, and how each mixes the others' slots; (BH) is images x heads.

    The matrix and what it mixes are in float32 at least: shares may be small.

    Attributes:
        tokens: (T, m) token of each slot of each block.
        real: (T, m) whether the slot is on the map.
        matrix: (BH, T, T), S.
        share: (BH, T, m) how much of each slot's mixture is on the map.
        at: (N,) slot of each token.
    """

    tokens: Tensor
    real: Tensor
    matrix: Tensor
    share: Tensor
    at: Tensor

    def mixed(self, blocks: Tensor) -> Tensor:
        """K' or V': (T, BH, m, d) -> (T, BH, m, d)."""
        values = (blocks * self.real[:, None, :, None]).transpose(0, 1).to(self.matrix.dtype)
        with no_autocast(blocks):
            sums = self.matrix @ values.flatten(2)
        return (sums.view(values.shape) / self.share.clamp(min=TINY)[..., None]).transpose(0, 1).to(blocks.dtype)

    def allowed(self) -> Tensor:
        """Which keys, of a block's own and then of its mixtures, its queries see: (T, BH, 1, 2 m)."""
        mixtures = (self.share > TINY).transpose(0, 1)
        return torch.cat((self.real[:, None].expand_as(mixtures), mixtures), -1)[:, :, None]


class SinkhornAttention(MultiHead):
    """Windows see themselves and a mixture of all windows, which is nearly a permutation of them.

    Args:
        in_channels, num_heads: as for `MultiHead`.
        window: side of a window.
        iterations: normalisations of columns and rows.
        temperature: tau; lower comes closer to a permutation.
        pos_embed: kind of position, see ``POSITIONS``; not relative.
    """

    card = Card(
        family="sparse",
        paper="2002.11296",
        equation="b_i = W_o [sum_{j in K_t, K'_t} softmax_j(q_hi . k_hj / sqrt(d)) v_hj], K'_t = sum_u S_tu K_u",
        parameters="4 * C**2 + 4 * C",
        flops="8 * N * C**2 + 2 * ceiling(H / window) * ceiling(W / window) * (4 * C * window**4"
        " + ceiling(H / window) * ceiling(W / window) * (window**2 * (2 * C + num_heads) + C))",
        peers=("the explicit sorting, block by block", "MultiHeadSelfAttention where a window covers the map"),
        when="When each window should see one more window, found by a relaxed sorting; sorting adds a cost of N^2"
        " divided by the positions of a window.",
        linear=False,
    )

    def __init__(
        self,
        in_channels: int,
        num_heads: int = 4,
        window: int = 8,
        iterations: int = 8,
        temperature: float = 0.75,
        pos_embed: str = "none",
    ) -> None:
        check_pos_embed("SinkhornAttention", pos_embed)
        check_at_least("SinkhornAttention", "window", window, 1)
        check_at_least("SinkhornAttention", "iterations", iterations, 1)
        if temperature <= 0:
            what = f"SinkhornAttention: temperature {temperature} is not positive"
            raise RegardError(what, expected="a positive number, such as 0.75")
        super().__init__(in_channels, num_heads, pos_embed)
        self.window = window
        self.iterations = iterations
        self.temperature = temperature

    def sort(self, q: Tensor, k: Tensor, size: Size) -> Sorting:
        """Queries and keys (B, heads, N, d) -> how blocks are sorted."""
        rows, columns = (Axis.blocks(n, self.window, ceil_div(n, self.window), q.device) for n in size)
        tokens, real = pairs(rows.keys, columns.keys, size[1]), seen_by(rows, columns)[:, 0, 0]
        means = [self._means(gather(t, tokens), real) for t in (q, k)]
        scores = means[0] @ means[1].mT / (math.sqrt(q.shape[-1]) * self.temperature)
        matrix = sinkhorn(scores, self.iterations)
        with no_autocast(q):
            share = matrix @ real.to(matrix.dtype)
        return Sorting(tokens, real, matrix, share, slots(rows, columns))

    def _means(self, blocks: Tensor, real: Tensor) -> Tensor:
        """(T, BH, m, d) -> (BH, T, d), over what is on the map."""
        inside = real.to(blocks.dtype)
        weights = inside / inside.sum(1, keepdim=True)
        return (blocks * weights[:, None, :, None]).sum(2).transpose(0, 1)

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:
        """(B, heads, N, d) each -> (B, heads, N, d)."""
        sorting = self.sort(q, k, size)
        own_k, own_v = gather(k, sorting.tokens), gather(v, sorting.tokens)
        keys = torch.cat((own_k, sorting.mixed(own_k)), 2)
        values = torch.cat((own_v, sorting.mixed(own_v)), 2)
        mixed = fused_attention(gather(q, sorting.tokens), keys, values, allowed=sorting.allowed())
        return put_back(mixed, sorting.at, q)

    def row_among(self, q: Tensor, k: Tensor, query: Size, size: Size) -> Tensor:
        """Implied weights of one of the queries: (B, heads, 1, N)."""
        row, column = query
        sorting = self.sort(q, k, size)
        block = row // self.window * ceil_div(size[1], self.window) + column // self.window
        own = gather(k, sorting.tokens)
        keys = torch.cat((own[block], sorting.mixed(own)[block]), 1)  # (BH, 2 m, d)
        at = row * size[1] + column
        weights = attention_weights(q[:, :, at].flatten(0, 1)[:, None], keys, allowed=sorting.allowed()[block])
        of_own, of_mixtures = weights[:, 0].chunk(2, -1)
        per_share = of_mixtures / sorting.share[:, block].clamp(min=TINY)
        implied = sorting.matrix[:, block, :, None] * per_share[:, None] * sorting.real
        here = torch.arange(implied.shape[1], device=k.device)[:, None] == block
        implied = implied + of_own[:, None] * here
        return put_back(implied.transpose(0, 1)[..., None].to(k.dtype), sorting.at, k[..., :1]).mT


def sinkhorn(scores: Tensor, iterations: int) -> Tensor:
    """Exp(scores) scaled to columns and rows that sum to 1: (..., T, T), in float32 at least.

    In logarithms, as section 3.1.1; rows are the last to be scaled.
    """
    log = at_least_float32(scores)
    for _ in range(iterations):
        log = log - log.logsumexp(-2, keepdim=True)
        log = log - log.logsumexp(-1, keepdim=True)
    return log.exp()
