"""Attention of linear cost through a kernel: a product of features in place of exp(q . k).

b_i = phi(q_i) sum_j phi(k_j)^T v_j / (phi(q_i) . sum_j phi(k_j))  (Katharopoulos et al., 2006.16236, equation 5): both
sums are the same for every query, so that cost and memory grow with N alone. The weights are never formed;
``attention`` gives the row that they imply, a_ij = phi(q_i) . phi(k_j) / sum_l phi(q_i) . phi(k_l).

* ``LinearAttention``: phi(x) = elu(x) + 1, positive everywhere (equation 7).
* ``ReLULinearAttention``: phi(x) = max(x, 0), as in EfficientViT (Cai et al., 2205.14756, section 3.1).
* ``EfficientAttention`` (Shen et al., 1812.01243, section 3.2, equation 6): rho_q(q_i) sum_j rho_k(k_j)^T v_j, where
  rho_q is the softmax over the channels of a query and rho_k that over the positions of each channel of the keys: each
  channel is a map of what to gather, and a query states from which to take. The implied weights sum to 1.

Features, sums and quotients are computed in float32 at least, since sums over thousands of positions overflow and
quotients of them drown in half precision.

Deviations: a sum of weights counts as 1e-30 at least, where the authors add 1e-6 and 1e-15, so that rows sum to 1. With
ReLU a query none of whose features is above 0 gets 0: the output jumps where the last feature of a query dies, as it
does with the authors'. EfficientViT's multi-scale aggregation of queries, keys and values and its batch norm are left
out (``pos_embed="conditional"`` gives a depth-wise convolution). Efficient attention has biases after the projections
and no residual connection; its other form, division by sqrt(N), is ``NonLocal`` with ``form: dot_product``.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

import torch
from torch import Tensor

from regard.nn.attention.core import Card, Size, no_autocast
from regard.nn.attention.multi_head import MultiHead
from regard.nn.attention.position import check_pos_embed
from regard.nn.precision import at_least_float32

EPSILON = 1e-30
"""Lower bound of a sum of weights: where no key shares a feature with a query, the query gets 0, not 0 / 0."""


def share(products: Tensor, allowed: Tensor | None = None) -> Tensor:
    """s_j / sum over j of s_j, for s_j >= 0: rows sum to 1, or are 0 where every s_j is 0."""
    products = products if allowed is None else products.masked_fill(~allowed, 0)
    return products / products.sum(-1, keepdim=True).clamp(min=EPSILON)


class KernelAttention(MultiHead):
    """Multi-head attention whose weights are products of features; a subclass defines them.

    Args:
        in_channels, num_heads: as for `MultiHead`.
        pos_embed: kind of position, see ``POSITIONS``; not relative ones, which need the scores of all pairs.

    Raises:
        RegardError: ``num_heads`` does not divide ``in_channels``, or the positions are unknown or do not fit.
    """

    def __init__(self, in_channels: int, num_heads: int = 4, pos_embed: str = "none") -> None:
        check_pos_embed(type(self).__name__, pos_embed)
        super().__init__(in_channels, num_heads, pos_embed)
        self.activation = share

    @abstractmethod
    def feature_maps(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Queries (B, heads, M, d) and keys (B, heads, N, d) -> their features, (B, heads, M or N, m), none negative.

        Both may be scaled, each query's features by any number and each feature by one number for all keys and its
        inverse for all queries, as long as the weights stay what they are.
        """

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:  # noqa: ARG002
        """(B, heads, N, d) each -> (B, heads, N, d)."""
        with no_autocast(q):
            phi_q, phi_k = self.feature_maps(at_least_float32(q), at_least_float32(k))
            sums = phi_k.transpose(-2, -1) @ at_least_float32(v)  # (B, heads, m, d)
            shares = phi_q @ phi_k.sum(-2)[..., None]  # (B, heads, N, 1)
            return (phi_q @ sums / shares.clamp(min=EPSILON)).to(v.dtype)

    def row(self, q: Tensor, k: Tensor, query: Size, size: Size) -> Tensor:  # noqa: ARG002
        """Implied weights of one query (B, heads, 1, d) over all keys (B, heads, N, d): (B, heads, 1, N)."""
        with no_autocast(q):
            phi_q, phi_k = self.feature_maps(at_least_float32(q), at_least_float32(k))
            return self.activation(phi_q @ phi_k.transpose(-2, -1), None)


class LinearAttention(KernelAttention):
    """Multi-head attention with the features elu + 1; see ``KernelAttention`` for the options."""

    card = Card(
        family="kernel",
        paper="2006.16236",
        equation="b_i = phi(q_i) sum_j phi(k_j)^T v_j / phi(q_i) . sum_j phi(k_j), phi = elu + 1",
        parameters="4 * C**2 + 4 * C",
        flops="8 * N * C**2 + 4 * N * C**2 / num_heads + 2 * N * C",
        peers=("the explicit kernel matrix",),
        when="When every position should reach the whole map at a cost that grows linearly with N; the weights are"
        " products of features instead of a softmax.",
    )

    def feature_maps(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys -> their features, of the same shapes."""
        return _elu_plus_one(q), _elu_plus_one(k)


def _elu_plus_one(x: Tensor) -> Tensor:
    """x + 1 above 0, exp(x) below; not elu(x) + 1, which rounds to 0 in float32 from -17 on."""
    return x.relu() + x.clamp(max=0).exp()


class ReLULinearAttention(KernelAttention):
    """Multi-head attention with the features max(x, 0); see ``KernelAttention`` for the options."""

    card = replace(
        LinearAttention.card,
        paper="2205.14756",
        equation="b_i = relu(q_i) sum_j relu(k_j)^T v_j / relu(q_i) . sum_j relu(k_j)",
        peers=("timm.models.efficientvit_mit.LiteMLA", "the explicit kernel matrix"),
        when="When linear attention should need no exponentials; the cost grows linearly with N.",
    )

    def feature_maps(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys -> their features, of the same shapes."""
        return q.relu(), k.relu()


class EfficientAttention(KernelAttention):
    """Multi-head attention by way of one map for each channel of the keys; see ``KernelAttention`` for the options."""

    card = replace(
        LinearAttention.card,
        paper="1812.01243",
        equation="b_i = softmax_channels(q_i) sum_j softmax_positions(k)_j^T v_j",
        flops="8 * N * C**2 + 4 * N * C**2 / num_heads",
        when="When linear attention should be normalised by two softmaxes, which need no quotient; the cost grows"
        " linearly with N.",
    )

    def feature_maps(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys -> their features, of the same shapes."""
        return q.softmax(-1), k.softmax(-2)

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:  # noqa: ARG002
        """(B, heads, N, d) each -> (B, heads, N, d); no quotients, as weights sum to 1 by themselves."""
        wide = torch.promote_types(q.dtype, torch.float32)
        with no_autocast(q):
            phi_q, phi_k = self.feature_maps(q.to(wide), k.to(wide))
            return (phi_q @ (phi_k.transpose(-2, -1) @ v.to(wide))).to(v.dtype)
