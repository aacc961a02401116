"""Nyström attention (Xiong et al., Nyströmformer, 2102.03902, equations 7, 11 and 13): attention through landmarks.

b_i = W_o [(F A^+ B v)_i + (P * v)_i],  F = softmax(Q K'^T / sqrt(d)), A = softmax(Q' K'^T / sqrt(d)),
B = softmax(Q' K^T / sqrt(d)), where the m landmarks Q', K' are means of queries and keys over segments. A^+ is found by
Z <- Z (13 I - A Z (15 I - A Z (7 I - A Z))) / 4, six times, from Z = A^T / (|A|_1 |A|_inf). P is a depth-wise
convolution of the values. Where every position is a landmark and A^+ is exact, this is plain attention.

Neither F nor B is ever stored: B v, then F (A^+ B v), are two calls of the fused kernel. Everything is computed in
float32 or float64, which the iterations need.

Deviations: segments are the cells of a grid that divides the map as evenly as it can, of g x g cells for every map;
along an axis shorter than g, neighbouring cells are the same position, and the pseudo-inverse handles the duplicates.
Z starts from the norms of its own matrix; the authors' code takes the largest of the batch, by which images would
depend on each other. P is k x k with weights for each channel.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from regard.nn.attention.core import (
    Card,
    Size,
    attention_weights,
    check_at_least,
    fused_attention,
    no_autocast,
)
from regard.nn.attention.multi_head import ValueConvolution
from regard.nn.attention.position import check_pos_embed


class NystromAttention(ValueConvolution):
    """Every position attends to every other by way of ``grid`` x ``grid`` landmarks; cost grows with N alone.

    ``attention`` gives the implied weights F A^+ B without P: they may be negative, and sum to 1 only as far as A^+ is
    exact.

    Args:
        in_channels: channels of the input and the output; a multiple of ``num_heads``.
        num_heads: number of heads, each of ``in_channels / num_heads`` channels.
        grid: g, landmarks along each axis; the map's larger side makes every position one.
        iterations: for the pseudo-inverse.
        kernel: k, odd side of the convolution of the values; 0 for none.
        pos_embed: kind of position, see ``POSITIONS``; not relative.
    """

    card = Card(
        family="low-rank",
        paper="2102.03902",
        equation="b_i = W_o [(F A^+ B v)_i + (P * v)_i], F, A, B the softmax of Q K'^T, Q' K'^T, Q' K^T over sqrt(d)",
        parameters="4 * C**2 + 4 * C + kernel**2 * C",
        flops="8 * N * C**2 + (2 * kernel**2 + 1) * C * N + 4 * grid * C * (N + grid * W) + 8 * grid**2 * N * C"
        " + 4 * grid**4 * C + 8 * iterations * num_heads * grid**6",
        peers=("MultiHeadSelfAttention, with all landmarks and an exact pseudo-inverse",),
        when="When global attention should be approximated through landmarks; the cost grows linearly with N, and"
        " the pseudo-inverse needs float32.",
    )

    def __init__(
        self,
        in_channels: int,
        num_heads: int = 4,
        grid: int = 8,
        iterations: int = 6,
        kernel: int = 3,
        pos_embed: str = "none",
    ) -> None:
        check_pos_embed("NystromAttention", pos_embed)
        check_at_least("NystromAttention", "grid", grid, 1)
        check_at_least("NystromAttention", "iterations", iterations, 1)
        super().__init__(in_channels, num_heads, kernel, pos_embed)
        self.grid = grid
        self.iterations = iterations
        self.pseudo_inverse: Callable[[Tensor], Tensor] = partial(pseudo_inverse, iterations=iterations)

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:
        """(B, heads, N, d) each -> (B, heads, N, d), the attention alone."""
        wide = torch.promote_types(q.dtype, torch.float32)
        with no_autocast(q):
            q, k = q.to(wide), k.to(wide)
            q_marks, k_marks = (means_of_cells(t, self.grid, size) for t in (q, k))
            inverse = self.pseudo_inverse(attention_weights(q_marks, k_marks))
            gathered = inverse @ fused_attention(q_marks, k, v.to(wide))
            return fused_attention(q, k_marks, gathered).to(v.dtype)

    def row_among(self, q: Tensor, k: Tensor, query: Size, size: Size) -> Tensor:
        """Implied weights of one of the queries: (B, heads, 1, N)."""
        wide = torch.promote_types(q.dtype, torch.float32)
        at = query[0] * size[1] + query[1]
        with no_autocast(q):
            q, k = q.to(wide), k.to(wide)
            q_marks, k_marks = (means_of_cells(t, self.grid, size) for t in (q, k))
            of_marks = attention_weights(q[:, :, at : at + 1], k_marks)
            weights = of_marks @ self.pseudo_inverse(attention_weights(q_marks, k_marks))
            return weights @ attention_weights(q_marks, k)


def pseudo_inverse(a: Tensor, iterations: int) -> Tensor:
    """Approximate the Moore-Penrose inverse of matrices (..., m, m) none of whose values is negative (equation 11)."""
    identity = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    norms = a.sum(-2).amax(-1) * a.sum(-1).amax(-1)
    z = a.transpose(-2, -1) / norms[..., None, None]
    for _ in range(iterations):
        az = a @ z
        z = z @ (13 * identity - az @ (15 * identity - az @ (7 * identity - az))) / 4
    return z


def means_of_cells(tokens_bhnd: Tensor, grid: int, size: Size) -> Tensor:
    """Means over the cells of a grid: (B, heads, H * W, d) -> (B, heads, grid * grid, d)."""
    batch, heads, _, d = tokens_bhnd.shape
    down, along = (means_of_stretches(n, grid, tokens_bhnd) for n in size)
    rows = down @ tokens_bhnd.reshape(batch, heads, size[0], size[1] * d)
    return (along @ rows.view(batch, heads, grid, size[1], d)).flatten(2, 3)


def means_of_stretches(n: int, count: int, like: Tensor) -> Tensor:
    """Matrix that takes the means over ``count`` stretches of n positions, as equal as can be: (count, n).

    Stretches do not overlap; where there are more of them than positions, several contain the same one.
    """
    numbers = torch.arange(count, device=like.device)
    starts = numbers * n // count
    ends = torch.maximum((numbers + 1) * n // count, starts + 1)
    at = torch.arange(n, device=like.device)
    inside = (at >= starts[:, None]) & (at < ends[:, None])
    return inside.to(like.dtype) / (ends - starts)[:, None].to(like.dtype)
