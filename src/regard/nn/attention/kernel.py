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
from regard.nn.attention.multi_head import MultiHead, Size
from regard.nn.attention.position import POSITIONS, Position

EPSILON = 1e-30
"""The least a sum of weights counts: where no key shares a feature with a query, the query gets 0, not 0 / 0."""


def share(products: Tensor, allowed: Tensor | None = None) -> Tensor:
    """s_j / sum over j of s_j, for s_j >= 0: rows sum to 1, or are 0 where every s_j is 0."""
    products = products if allowed is None else products.masked_fill(~allowed, 0)
    return products / products.sum(-1, keepdim=True).clamp(min=EPSILON)


class KernelAttention(MultiHead):
    """Multi-head attention whose weights are products of features; a subclass says which.

    Args:
        in_channels: channels of the input and the output; a multiple of ``heads``.
        heads: each works on ``in_channels / heads`` channels.
        positions: kind of position, see ``POSITIONS``; not relative ones, which need the scores of all pairs.

    Raises:
        RegardError: ``heads`` does not divide ``in_channels``, or the positions are unknown or do not fit.
    """

    def __init__(self, in_channels: int, heads: int = 4, positions: str = "none") -> None:
        super().__init__(in_channels, heads, positions)
        if type(self.position).on_scores is not Position.on_scores:
            possible = [name for name in POSITIONS if name != positions]
            what = f"{type(self).__name__} has no scores of pairs to add {positions!r} positions to"
            raise RegardError(what, expected="one of " + ", ".join(possible), hint=nearest(positions, possible))
        self.normalise = share

    @property
    @abstractmethod
    def features_per_head(self) -> int:
        """Number of features of a query or a key."""

    @abstractmethod
    def feature_maps(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Queries (B, heads, M, d) and keys (B, heads, N, d) -> their features, (B, heads, M or N, m), none negative.

        Both may be scaled, each query's features by any number and each feature by one number for all keys and its
        inverse for all queries, as long as the weights stay what they are.
        """

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:  # noqa: ARG002
        """(B, heads, N, d) each -> (B, heads, N, d)."""
        with torch.autocast(q.device.type, enabled=False):
            phi_q, phi_k = self.feature_maps(_wide(q), _wide(k))
            sums = phi_k.transpose(-2, -1) @ _wide(v)  # (B, heads, m, d)
            shares = phi_q @ phi_k.sum(-2)[..., None]  # (B, heads, N, 1)
            return (phi_q @ sums / shares.clamp(min=EPSILON)).to(v.dtype)

    def row(self, q: Tensor, k: Tensor, query: Size, size: Size) -> Tensor:  # noqa: ARG002
        """Return the implied weights of one query (B, heads, 1, d) over all keys (B, heads, N, d): (B, heads, 1, N)."""
        with torch.autocast(q.device.type, enabled=False):
            phi_q, phi_k = self.feature_maps(_wide(q), _wide(k))
            return self.normalise(phi_q @ phi_k.transpose(-2, -1), None)

    def feature_flops(self, height: int, width: int) -> int:
        """Return operations for the features of all queries and keys: one for each, unless a subclass says more."""
        return 2 * height * width * self.heads * self.features_per_head

    def mixing_flops(self, height: int, width: int) -> int:
        """Return the features, m d products and sums twice for each position and head, sums of weights, quotients."""
        features = self.heads * self.features_per_head
        products = height * width * features * (4 * (self.in_channels // self.heads) + 3)
        return self.feature_flops(height, width) + products + height * width * self.in_channels

    def saved_elements(self, height: int, width: int) -> int:
        """Return queries, keys, values, features of both, quotients, their dividends and what was mixed."""
        features = self.heads * self.features_per_head
        return height * width * (6 * self.in_channels + 2 * features + 2 * self.heads)


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
