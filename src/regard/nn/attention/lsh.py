"""Attention among positions of like hash (Kitaev et al., Reformer, 2001.04451, section 2; equations 4 to 6, A.1).

h(x) = argmax([x R; -x R]), R of d x (buckets / 2) normal values: vectors at a small angle share a bucket as a rule.
Positions are sorted by bucket, and in a bucket by place, and cut into stretches of m. A query sees what is of its own
bucket and stands in its own stretch or the one before. This is done in several rounds, each with an R of its own:
b_i = sum over j seen in any round of softmax_j(q_i . k_j / sqrt(d)) v_j, each key once. Keys are the queries, scaled to
length 1. Cost grows with N. With one bucket nothing is sorted or cut, and this is plain attention on those keys.

The R are drawn once, kept in a buffer, and saved, copied and sent to other processes with the weights; they suit maps
of any size, and heads share them.

Deviations: a query sees itself, which the paper avoids for language models; no causality; the number of buckets and m
are options of their own, where the paper has m = 2 N / buckets, which grows with the map. Rounds meet in one softmax,
whose parts no fused kernel gives: scores are written out, 2 m for each position, head and round.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.errors import RegardError
from regard.nn.attention.card import Card
from regard.nn.attention.dot_product import attention_weights, fused_attention
from regard.nn.attention.grouping import ceil_div
from regard.nn.attention.multi_head import MultiHead, Size
from regard.nn.attention.options import check_at_least, check_positions
from regard.nn.attention.tokens import split_heads, to_tokens


class LSHAttention(MultiHead):
    """Every position sees those near it in an order in which similar vectors stand together.

    Args:
        in_channels: channels of the input and the output; a multiple of ``heads``.
        heads: each works on ``in_channels / heads`` channels.
        buckets: an even number, or 1.
        rounds: hashes, each of which can bring positions together.
        stretch: m, positions of a stretch.
        positions: kind of position, see ``POSITIONS``; not relative.

    Raises:
        RegardError: an option does not fit.
    """

    card = Card(
        family="sparse",
        paper="2001.04451",
        equation="b_i = W_o [sum_{j: h(q_j) = h(q_i), near in order} softmax_j(q_hi . k_hj / sqrt(d)) v_hj],"
        " k = q / |q|",
        parameters="3 * C**2 + 3 * C",
        flops="6 * N * C**2 + rounds * C * (N * buckets + 8 * ceiling(N / stretch) * stretch**2)",
        peers=("attention under an explicit mask",),
    )

    def __init__(
        self,
        in_channels: int,
        heads: int = 4,
        buckets: int = 16,
        rounds: int = 2,
        stretch: int = 64,
        positions: str = "none",
    ) -> None:
        check_positions("LSHAttention", positions)
        check_at_least("LSHAttention", "rounds", rounds, 1)
        check_at_least("LSHAttention", "stretch", stretch, 1)
        if buckets != 1 and (buckets < 1 or buckets % 2):
            hint = f"the nearest is {max(1, buckets + 1)}"
            raise RegardError(f"LSHAttention: {buckets} buckets", expected="an even number, or 1", hint=hint)
        super().__init__(in_channels, heads, positions)
        del self.qkv
        self.buckets = buckets
        self.rounds = rounds
        self.stretch = stretch
        self.query = nn.Linear(in_channels, in_channels)
        self.value = nn.Linear(in_channels, in_channels)
        self.rotations: Tensor
        self.register_buffer("rotations", torch.randn(rounds, in_channels // heads, buckets // 2))

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, H, W) -> queries, the same at length 1, and values, each (B, heads, H * W, d)."""
        tokens = to_tokens(self.position.on_map(x))
        q, v = (split_heads(layer(tokens), self.heads) for layer in (self.query, self.value))
        q = self.position.on_heads(q, (x.shape[2], x.shape[3]))
        wide = q.to(torch.promote_types(q.dtype, torch.float32))
        return q, F.normalize(wide, dim=-1).to(q.dtype), v

    def order(self, k: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sort positions by bucket: (B, heads, N, d) -> three times (rounds, B, heads, N), whole numbers.

        Returns:
            The positions in order; the place of each position in it; and its stretch and bucket in one number: a query
            sees a key where the query's is the same or one more.
        """
        with torch.autocast(k.device.type, enabled=False):
            dtype = torch.promote_types(k.dtype, torch.float32)
            # (rounds, B, heads, N, buckets / 2)
            turned = k.detach().to(dtype) @ self.rotations.to(dtype)[:, None, None]
        bucket = torch.cat((turned, -turned), -1).argmax(-1)
        n = k.shape[2]
        steps = torch.arange(n, device=k.device)
        order = (bucket * n + steps).argsort(-1)
        place = torch.zeros_like(order).scatter(-1, order, steps.expand_as(order))
        return order, place, bucket * (ceil_div(n, self.stretch) + 1) + place // self.stretch

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:  # noqa: ARG002
        """(B, heads, N, d) each -> (B, heads, N, d)."""
        if self.buckets == 1:
            return fused_attention(q, k, v)
        orders, places, groups = self.order(k)
        q = q / math.sqrt(q.shape[-1])
        found, sums = [], []
        for order, place, group in zip(orders, places, groups, strict=True):
            mixed, log_sum = self._in_order(q, k, v, order, group, groups)
            found.append(mixed.gather(2, place[..., None].expand_as(q)))
            sums.append(log_sum.gather(2, place))
        shares = torch.stack(sums).softmax(0).to(v.dtype)
        return (torch.stack(found) * shares[..., None]).sum(0)

    def _in_order(
        self, q: Tensor, k: Tensor, v: Tensor, order: Tensor, group: Tensor, groups: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return what one round mixes, (B, heads, N or more, d), and the logarithm of its sum of weights, in order."""
        n, m = order.shape[-1], self.stretch
        many = ceil_div(n, m)
        queries = F.pad(order, (0, many * m - n)).view(*order.shape[:2], many, m)
        keys = torch.cat((queries.roll(1, 2), queries), -1)  # (B, heads, many, 2 m)
        slot = torch.arange(many * m, device=q.device).view(many, m)
        real = torch.cat((slot - m, slot), -1)
        seen = _sees(group, queries, keys) & ((real >= 0) & (real < n))[:, None]
        times = sum(_sees(other, queries, keys).to(q.dtype) for other in groups)
        scores = _pick(q, queries) @ _pick(k, keys).mT
        scores = (scores - torch.as_tensor(times).clamp(min=1).log()).masked_fill(~seen, -torch.inf)
        log_sum = scores.logsumexp(-1, keepdim=True)
        log_sum = log_sum.masked_fill(log_sum == -torch.inf, 0)  # what only fills up may see nothing
        mixed = (scores - log_sum).exp() @ _pick(v, keys)
        return mixed.flatten(2, 3), log_sum.flatten(2)

    def row(self, q: Tensor, k: Tensor, query: Size, size: Size) -> Tensor:
        """Return the weights of one query (B, heads, 1, d) over all keys (B, heads, N, d): (B, heads, 1, N)."""
        if self.buckets == 1:
            return attention_weights(q, k)
        _, _, groups = self.order(k)
        at = query[0] * size[1] + query[1]
        behind = groups[..., at : at + 1] - groups
        return attention_weights(q, k, allowed=((behind == 0) | (behind == 1)).any(0)[:, :, None])

    def pairs(self, height: int, width: int) -> int:
        """Return the pairs of each stretch with itself and the one before, padding included, of all rounds."""
        n = height * width
        return n * n if self.buckets == 1 else 2 * self.rounds * ceil_div(n, self.stretch) * self.stretch**2

    def flops(self, height: int, width: int) -> int:
        """Return three projections, 6 N C^2, the positions, and the mixing."""
        projections = 6 * height * width * self.in_channels**2
        return projections + self.position.flops(height, width) + self.mixing_flops(height, width)

    def mixing_flops(self, height: int, width: int) -> int:
        """Return 4 C for each pair, and the hashes."""
        hashes = 0 if self.buckets == 1 else height * width * self.in_channels * self.rounds * self.buckets
        return super().mixing_flops(height, width) + hashes

    def saved_elements(self, height: int, width: int) -> int:
        """Return input, queries, keys and values; of each round these in order, weights and places."""
        n = height * width
        if self.buckets == 1:
            return n * (6 * self.in_channels + self.heads)
        weights = 3 * self.heads * self.pairs(height, width)
        return n * self.in_channels * (6 + 7 * self.rounds) + weights


def _sees(group: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
    """Return whether queries see keys in one round: (B, heads, many, m, 2 m)."""
    of_query, of_key = (group.gather(2, at.flatten(2)).view(at.shape) for at in (queries, keys))
    behind = of_query[..., None] - of_key[..., None, :]
    return (behind == 0) | (behind == 1)


def _pick(x: Tensor, at: Tensor) -> Tensor:
    """(B, heads, N, d), (B, heads, many, m) -> (B, heads, many, m, d)."""
    return x.gather(2, at.flatten(2)[..., None].expand(-1, -1, -1, x.shape[-1])).view(*at.shape, x.shape[-1])
