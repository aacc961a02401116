"""Attention to the keys with the largest scores, chosen by each query (learned patterns).

Exact (Zhao et al., Explicit Sparse Transformer, 1912.11637, the masking function M): with t_i the k-th largest of the
scores s_ij = q_i . k_j / sqrt(d) of query i,

    b_i = W_o [sum_j softmax_j(M(s_ij)) v_j],  M(s_ij) = s_ij where s_ij >= t_i, else -inf.

Approximate: the partial reduction of TPU-KNN (Chern et al., 2206.14286). The keys fall into L bins, key j into bin
j mod L; the largest score of each bin is a candidate, and the k largest candidates are taken. If the k largest scores
fall into bins independently, L / k (1 - (1 - 1 / L)^k) of them are found on average. N scores are not sorted, but all
of them are still computed.

The gradient. The choice is piecewise constant and has none: a score that is not taken gets a gradient of exactly 0, and
so does a key that no query takes. Taken scores get the gradient of the softmax over them. No gradient says that a key
should have been taken: it enters when its score passes that of a taken one, as both change for other reasons. Scores
equal to the k-th largest are all taken, as in the equation, so that more than k may take part; the output jumps there.

With k >= N both are plain attention. Deviations: scores of all pairs are written out, so memory is quadratic; the paper
of the second searches for neighbours among vectors and does not attend. Its bins are shuffled, those here follow
reading order, which puts neighbours of one row into different bins.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from regard.errors import RegardError
from regard.nn.attention.core import Card, Size, ceil_div, check_at_least, fused_attention, least, softmax
from regard.nn.attention.multi_head import MultiHead


def top_k(scores: Tensor, allowed: Tensor | None = None, *, topk: int) -> Tensor:
    """Softmax over the ``topk`` largest scores of each query, exactly 0 elsewhere: (..., N) -> (..., N).

    Example:
        >>> top_k(torch.tensor([0.0, 2.0, 1.0, 2.0]), topk=1)
        tensor([0.0000, 0.5000, 0.0000, 0.5000])
    """
    visible = _visible(scores, allowed)
    return softmax(scores, _and(visible >= _kth(visible, topk), allowed))


def approximate_top_k(scores: Tensor, allowed: Tensor | None = None, *, topk: int, bins: int) -> Tensor:
    """Softmax over the ``topk`` largest of the largest scores of each of ``bins``: (..., N) -> (..., N).

    Example:
        >>> approximate_top_k(torch.tensor([0.0, 2.0, 1.0, 3.0]), topk=2, bins=2).count_nonzero()
        tensor(2)
    """
    visible = _visible(scores, allowed)
    n = visible.shape[-1]
    blocks = torch.unflatten(F.pad(visible, (0, ceil_div(n, bins) * bins - n), value=-torch.inf), -1, (-1, bins))
    largest = blocks.amax(-2, keepdim=True)  # (..., 1, bins)
    chosen = (blocks == largest) & (largest >= _kth(largest, topk))
    return softmax(scores, _and(chosen.flatten(-2)[..., :n], allowed))


def _visible(scores: Tensor, allowed: Tensor | None) -> Tensor:
    """Scores without gradient, the lowest where a key must not be seen."""
    return scores.detach() if allowed is None else scores.detach().masked_fill(~allowed, -torch.inf)


def _kth(scores: Tensor, topk: int) -> Tensor:
    """The ``topk``-th largest, or the smallest where there are fewer: (..., N) -> (..., 1)."""
    return scores.topk(least(topk, scores.shape[-1]), -1).values[..., -1:]


def _and(chosen: Tensor, allowed: Tensor | None) -> Tensor:
    return chosen if allowed is None else chosen & allowed


class TopKAttention(MultiHead):
    """Every position attends to the ``topk`` positions whose keys suit its query best.

    Args:
        in_channels, num_heads: as for `MultiHead`.
        topk: k, for each query and head; all positions of maps that have fewer.
        pos_embed: kind of position, see ``POSITIONS``.

    Raises:
        RegardError: ``topk`` is not positive, or as for every ``MultiHead``.
    """

    card = Card(
        family="sparse",
        paper="1912.11637",
        equation="b_i = W_o [sum_j softmax_j(s_hij where s_hij >= the k-th largest of query i) v_hj]",
        parameters="4 * C**2 + 4 * C",
        flops="8 * N * C**2 + 4 * N**2 * C",
        peers=("its definition, query by query", "MultiHeadSelfAttention where k >= N"),
        when="When each position should attend to the few that suit it best, without the rest; it still computes the"
        " scores of all pairs.",
        linear=False,
    )

    def __init__(self, in_channels: int, num_heads: int = 4, topk: int = 32, pos_embed: str = "none") -> None:
        check_at_least(type(self).__name__, "topk", topk, 1)
        super().__init__(in_channels, num_heads, pos_embed)
        self.topk = topk
        self.activation = partial(top_k, topk=topk)
        self.note = "scores are written out: their memory grows with the square of the positions"

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:
        """(B, heads, N, d) each -> (B, heads, N, d)."""
        return fused_attention(q, k, v, self.activation, bias=self.position.on_scores(size))


class ApproximateTopKAttention(TopKAttention):
    """Every position attends to about the ``topk`` positions whose keys suit its query best.

    Args:
        in_channels, num_heads: as for `MultiHead`.
        topk: k, for each query and head.
        bins: L, at least ``topk``; more find more of the largest scores.
        pos_embed: kind of position, see ``POSITIONS``.

    Raises:
        RegardError: ``bins`` are fewer than ``topk``, or as for `TopKAttention`.
    """

    card = Card(
        family="sparse",
        paper="2206.14286",
        equation="b_i = W_o [sum_j softmax_j(s_hij where it is among the k largest of the largest of each bin) v_hj]",
        parameters="4 * C**2 + 4 * C",
        flops="8 * N * C**2 + 4 * N**2 * C",
        peers=("its definition, query by query", "TopKAttention where there is a bin for each position"),
        when="When sorting scores is slow on the device and some of the largest may be missed; on a processor it saves"
        " about a sixth of TopKAttention's time at P4.",
        linear=False,
    )

    def __init__(
        self, in_channels: int, num_heads: int = 4, topk: int = 32, bins: int = 128, pos_embed: str = "none"
    ) -> None:
        super().__init__(in_channels, num_heads, topk, pos_embed)
        if bins < topk:
            what = f"ApproximateTopKAttention: {bins} bins for the {topk} largest"
            raise RegardError(what, expected=f"bins: {topk} or more", hint=f"the nearest is {topk}")
        self.bins = bins
        self.activation = partial(approximate_top_k, topk=topk, bins=bins)
