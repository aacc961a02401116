"""Attention among positions of equal hash (Kitaev et al., Reformer, 2001.04451, section 2; equations 4 to 6, A.1).

h(x) = argmax([x R; -x R]), R of d x (buckets / 2) normal values: vectors at a small angle share a bucket as a rule.
Positions are sorted by bucket, and in a bucket by place, and cut into chunks of m. A query attends to keys of its own
bucket in its own chunk or the preceding one. This is done in several rounds, each with another R:
b_i = sum over j seen in any round of softmax_j(q_i . k_j / sqrt(d)) v_j, each key once. Keys are the queries, scaled to
length 1. Cost grows with N. With one bucket nothing is sorted or cut, and this is plain attention on those keys.

The R are drawn once, kept in a buffer, and saved, copied and sent to other processes with the weights; they suit maps
of any size, and heads share them.

As s_ii is the largest score of query i, the weights of all rounds are exp(s_ij - s_ii), over how many rounds see j, and
sums over rounds need no softmax that goes before. Scores are written out, 2 m for each position, head and round.

Deviations: a query sees itself, which the paper avoids for language models; no causality; the number of buckets and m
are separate options, where the paper has m = 2 N / buckets, which grows with the map.
"""

from __future__ import annotations

import math
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.errors import RegardError
from regard.nn.attention.core import (
    Card,
    Size,
    attention_weights,
    ceil_div,
    check_at_least,
    fused_attention,
    no_autocast,
    split_heads,
    to_tokens,
)
from regard.nn.attention.multi_head import MultiHead
from regard.nn.attention.position import check_pos_embed
from regard.nn.precision import at_least_float32

FILLING = -2
"""Group of the padding of the last chunk; no position has this group or the next one."""


class LSHAttention(MultiHead):
    """Every position attends to its neighbours in an order in which similar vectors are close to each other.

    Args:
        in_channels, num_heads: as for `MultiHead`.
        buckets: an even number, or 1.
        rounds: number of hashes.
        chunk_size: m, positions of a chunk.
        pos_embed: kind of position, see ``POSITIONS``; not relative.
    """

    card = Card(
        family="sparse",
        paper="2001.04451",
        equation="b_i = W_o [sum_{j: h(q_j) = h(q_i), near in order} softmax_j(q_hi . k_hj / sqrt(d)) v_hj],"
        " k = q / |q|",
        parameters="3 * C**2 + 3 * C",
        flops="6 * N * C**2 + rounds * C * (N * buckets + 8 * ceiling(N / chunk_size) * chunk_size**2)",
        peers=("attention under an explicit mask",),
        when="When positions should attend to those that hash alike, wherever they are; the cost grows linearly with"
        " N, plus sorting.",
    )

    def __init__(
        self,
        in_channels: int,
        num_heads: int = 4,
        buckets: int = 16,
        rounds: int = 2,
        chunk_size: int = 64,
        pos_embed: str = "none",
    ) -> None:
        check_pos_embed("LSHAttention", pos_embed)
        check_at_least("LSHAttention", "rounds", rounds, 1)
        check_at_least("LSHAttention", "chunk_size", chunk_size, 1)
        if buckets != 1 and (buckets < 1 or buckets % 2):
            hint = f"the nearest is {max(1, buckets + 1)}"
            raise RegardError(f"LSHAttention: {buckets} buckets", expected="an even number, or 1", hint=hint)
        super().__init__(in_channels, num_heads, pos_embed)
        del self.qkv
        self.buckets = buckets
        self.rounds = rounds
        self.chunk_size = chunk_size
        self.query = nn.Linear(in_channels, in_channels)
        self.value = nn.Linear(in_channels, in_channels)
        self.rotations: Tensor
        self.register_buffer("rotations", torch.randn(rounds, in_channels // num_heads, buckets // 2))

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, H, W) -> queries, the same at length 1, and values, each (B, heads, H * W, d)."""
        tokens = to_tokens(self.position.on_map(x))
        q, v = (split_heads(layer(tokens), self.num_heads) for layer in (self.query, self.value))
        q = self.position.on_heads(q, (x.shape[2], x.shape[3]))
        wide = at_least_float32(q)
        return q, F.normalize(wide, dim=-1).to(q.dtype), v

    def order(self, k: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sort positions by bucket: (B, heads, N, d) -> three times (rounds, B, heads, N), whole numbers.

        Returns:
            The positions in order; the place of each position in it; and its chunk and bucket in one number: a query
            sees a key where the query's is the same or one more.
        """
        with no_autocast(k):
            dtype = torch.promote_types(k.dtype, torch.float32)
            # (rounds, B, heads, N, buckets / 2)
            turned = k.detach().to(dtype) @ self.rotations.to(dtype)[:, None, None]
        bucket = torch.cat((turned, -turned), -1).argmax(-1)
        n = k.shape[2]
        steps = torch.arange(n, device=k.device)
        order = (bucket * n + steps).argsort(-1)
        place = torch.zeros_like(order).scatter(-1, order, steps.expand_as(order))
        group = bucket * (ceil_div(n, self.chunk_size) + 1) + place // self.chunk_size
        return order, place, group.int()  # compared for all pairs: half the memory to read

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:  # noqa: ARG002
        """(B, heads, N, d) each -> (B, heads, N, d)."""
        if self.buckets == 1:
            return fused_attention(q, k, v)
        orders, places, groups = self.order(k)
        q = q / math.sqrt(q.shape[-1])
        mixed, sums = torch.zeros_like(v), torch.zeros_like(q[..., :1])
        for i, (order, place) in enumerate(zip(orders, places, strict=True)):
            # this round's first: what it sees; then the others', which may see the same
            in_order = [group.gather(2, order) for group in (groups[i], *groups[:i], *groups[i + 1 :])]
            found, total = self._in_order(_rows(q, order), _rows(k, order), _rows(v, order), in_order)
            mixed, sums = mixed + _rows(found, place), sums + _rows(total, place)
        return mixed / sums

    def _in_order(self, q: Tensor, k: Tensor, v: Tensor, groups: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Sum of weighted values of one round, (B, heads, N or more, d), and that of the weights, (..., 1).

        All are in the order of the round. Keys are queries at length 1, so no score s_ij is above s_ii: weights are
        exp(s_ij - s_ii) over what all of them could come to, at most 1 and never all 0. No query sees nothing: what
        fills up the last chunk sees itself.
        """
        n, m = q.shape[2], self.chunk_size
        many = ceil_div(n, m)
        own = (q * k).sum(-1, keepdim=True).detach() + math.log(2 * m * self.rounds)  # cancels: without a gradient
        cut = (*q.shape[:2], many, m)
        q, k, v, own = (F.pad(t, (0, 0, 0, many * m - n)).view(*cut, t.shape[-1]) for t in (q, k, v, own))
        group, *others = (F.pad(t, (0, many * m - n), value=FILLING).view(cut) for t in groups)
        # in the chunk before, a bucket's number is one less; before the first stands the last, which never fits
        unseen = group[..., None] != torch.cat((group.roll(1, 2) + 1, group), -1)[..., None, :]
        times = [_sees(other).to(q.dtype) for other in others] or [torch.zeros_like(unseen, dtype=q.dtype)]
        # in place: for large maps, allocating memory takes longer than filling it
        less = reduce(torch.add, times).log1p_().add_(own).masked_fill_(unseen, torch.inf)
        weights = (q @ _with_previous(k).mT).sub_(less).exp_()
        return (weights @ _with_previous(v)).flatten(2, 3), weights.sum(-1, keepdim=True).flatten(2, 3)

    def row(self, q: Tensor, k: Tensor, query: Size, size: Size) -> Tensor:
        """Weights of one query (B, heads, 1, d) over all keys (B, heads, N, d): (B, heads, 1, N)."""
        if self.buckets == 1:
            return attention_weights(q, k)
        _, _, groups = self.order(k)
        at = query[0] * size[1] + query[1]
        behind = groups[..., at : at + 1] - groups
        return attention_weights(q, k, allowed=((behind == 0) | (behind == 1)).any(0)[:, :, None])


def _sees(group: Tensor) -> Tensor:
    """Whether queries see keys in one round, (B, heads, many, m) in the order of another: (..., m, 2 m)."""
    of_query, of_key = group[..., None], torch.cat((group.roll(1, 2), group), -1)[..., None, :]
    return (of_query == of_key).logical_or_(of_query - 1 == of_key)


def _with_previous(x: Tensor) -> Tensor:
    """Each chunk and before it the one before it: (B, heads, many, m, d) -> (B, heads, many, 2 m, d)."""
    return torch.cat((x.roll(1, 2), x), 3)


def _rows(x: Tensor, at: Tensor) -> Tensor:
    """(B, heads, N, d), (B, heads, M) -> (B, heads, M, d), row by row, which is faster than ``gather``."""
    batch, heads, n, _ = x.shape
    starts = torch.arange(batch * heads, device=x.device).view(batch, heads, 1) * n
    return x.flatten(0, 2).index_select(0, (at + starts).flatten()).view(*at.shape, x.shape[-1])
