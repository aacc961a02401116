"""Efficient attention (Shen et al., 1812.01243, section 3.2, equation 6): two softmaxes in place of one.

b_i = rho_q(q_i) [sum_j rho_k(k_j)^T v_j],  rho_q the softmax over the channels of a query, rho_k the softmax over the
positions of each channel of the keys. The sum, of (d, d), is the same for every query, so that cost and memory grow
with N alone; each channel of the keys is a map of what to gather, and a query selects among them. The
implied weights rho_q(q_i) . rho_k(k_j) sum to 1 over j, since every rho_k does and every rho_q does.

Deviations: biases after the projections, no residual connection; the gate of an insertion serves as one. The paper's
other normaliser, division by sqrt(N), is ``NonLocal`` with ``form: dot_product``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from regard.nn.attention.core import Card, Size, no_autocast
from regard.nn.attention.kernel import KernelAttention


class EfficientAttention(KernelAttention):
    """Multi-head attention by way of one map for each channel of the keys; see ``KernelAttention`` for the options."""

    card = Card(
        family="kernel",
        paper="1812.01243",
        equation="b_i = softmax_channels(q_i) sum_j softmax_positions(k)_j^T v_j",
        parameters="4 * C**2 + 4 * C",
        flops="8 * N * C**2 + 4 * N * C**2 / num_heads",
        peers=("the explicit kernel matrix",),
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
