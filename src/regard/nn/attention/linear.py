"""Attention of linear cost through simple features (see ``kernel.py`` for the equation).

``LinearAttention``: phi(x) = elu(x) + 1, positive everywhere (Katharopoulos et al., 2006.16236, equation 7).
``ReLULinearAttention``: phi(x) = max(x, 0), as in EfficientViT (Cai et al., 2205.14756, section 3.1).

Deviations: a sum of weights counts as 1e-30 at least, where the authors add 1e-6 and 1e-15, so that rows sum to 1.
With ReLU a query none of whose features is above 0 gets 0, and its row sums to 0: the output jumps where the last
feature of a query dies, as it does with the authors'. EfficientViT's multi-scale aggregation of queries, keys and
values (depth-wise convolutions before attention) and its batch norm are left out; ``pos_embed="conditional"`` gives a
depth-wise convolution.
"""

from __future__ import annotations

from torch import Tensor

from regard.nn.attention.core import Card
from regard.nn.attention.kernel import KernelAttention


class LinearAttention(KernelAttention):
    """Multi-head attention with the features elu + 1; see ``KernelAttention`` for the options."""

    card = Card(
        family="kernel",
        paper="2006.16236",
        equation="b_i = phi(q_i) sum_j phi(k_j)^T v_j / phi(q_i) . sum_j phi(k_j), phi = elu + 1",
        parameters="4 * C**2 + 4 * C",
        flops="8 * N * C**2 + 4 * N * C**2 / num_heads + 2 * N * C",
        peers=("the explicit kernel matrix",),
    )

    def feature_maps(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys -> their features, of the same shapes."""
        return _elu_plus_one(q), _elu_plus_one(k)


def _elu_plus_one(x: Tensor) -> Tensor:
    """x + 1 above 0, exp(x) below; not elu(x) + 1, which rounds to 0 in float32 from -17 on."""
    return x.relu() + x.clamp(max=0).exp()


class ReLULinearAttention(KernelAttention):
    """Multi-head attention with the features max(x, 0); see ``KernelAttention`` for the options."""

    card = Card(
        family="kernel",
        paper="2205.14756",
        equation="b_i = relu(q_i) sum_j relu(k_j)^T v_j / relu(q_i) . sum_j relu(k_j)",
        parameters="4 * C**2 + 4 * C",
        flops="8 * N * C**2 + 4 * N * C**2 / num_heads + 2 * N * C",
        peers=("timm.models.efficientvit_mit.LiteMLA", "the explicit kernel matrix"),
    )

    def feature_maps(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys -> their features, of the same shapes."""
        return q.relu(), k.relu()
