"""What attention through a kernel shares: a product of features in place of exp(q . k) (Katharopoulos, 2006.16236).

b_i = phi(q_i) sum_j phi(k_j)^T v_j / (phi(q_i) . sum_j phi(k_j))  (equation 5): the two sums are the same for every
query, so that cost and memory grow with N alone. The weights are never formed; ``attention`` gives the row that they
imply, a_ij = phi(q_i) . phi(k_j) / sum_l phi(q_i) . phi(k_l).

Features, sums and quotients are computed in float32 at least, since sums over thousands of positions overflow and
quotients of them drown in half precision.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from regard.errors import RegardError, nearest
from regard.nn.attention.core import Size, no_autocast
from regard.nn.attention.multi_head import MultiHead
from regard.nn.attention.position import POSITIONS, Position

EPSILON = 1e-30
"""The least a sum of weights counts: where no key shares a feature with a query, the query gets 0, not 0 / 0."""


def share(products: Tensor, allowed: Tensor | None = None) -> Tensor:
    """s_j / sum over j of s_j, for s_j >= 0: rows sum to 1, or are 0 where every s_j is 0."""
    products = products if allowed is None else products.masked_fill(~allowed, 0)
    return products / products.sum(-1, keepdim=True).clamp(min=EPSILON)


class KernelAttention(MultiHead):
    """Multi-head attention whose weights are products of features, which subclasses define.

    Args:
        in_channels: channels of the input and the output; a multiple of ``num_heads``.
        num_heads: each works on ``in_channels / num_heads`` channels.
        pos_embed: kind of position, see ``POSITIONS``; not relative ones, which need the scores of all pairs.

    Raises:
        RegardError: ``num_heads`` does not divide ``in_channels``, or the positions are unknown or do not fit.
    """

    def __init__(self, in_channels: int, num_heads: int = 4, pos_embed: str = "none") -> None:
        super().__init__(in_channels, num_heads, pos_embed)
        if type(self.position).on_scores is not Position.on_scores:
            possible = [name for name in POSITIONS if name != pos_embed]
            what = f"{type(self).__name__} has no scores of pairs to add {pos_embed!r} positions to"
            raise RegardError(what, expected="one of " + ", ".join(possible), hint=nearest(pos_embed, possible))
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
            phi_q, phi_k = self.feature_maps(_wide(q), _wide(k))
            sums = phi_k.transpose(-2, -1) @ _wide(v)  # (B, heads, m, d)
            shares = phi_q @ phi_k.sum(-2)[..., None]  # (B, heads, N, 1)
            return (phi_q @ sums / shares.clamp(min=EPSILON)).to(v.dtype)

    def row(self, q: Tensor, k: Tensor, query: Size, size: Size) -> Tensor:  # noqa: ARG002
        """Implied weights of one query (B, heads, 1, d) over all keys (B, heads, N, d): (B, heads, 1, N)."""
        with no_autocast(q):
            phi_q, phi_k = self.feature_maps(_wide(q), _wide(k))
            return self.activation(phi_q @ phi_k.transpose(-2, -1), None)


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
