"""Performer: softmax attention estimated at linear cost, FAVOR+ (Choromanski et al., 2009.14794, eq. 5, lemma 1).

exp(q . k / sqrt(d)) = E_w[phi_w(q) phi_w(k)], phi_w(x) = exp(w . x' - |x'|^2 / 2), x' = x / d^(1/4), w ~ N(0, I_d),
estimated by the mean over m drawn vectors w that are orthogonal in blocks of d (section 2.4); the error falls as
1 / sqrt(m). The w are drawn once, kept in a buffer, and saved with the weights: a copied or reloaded module computes
the same. They are shared by the heads.

Deviations: the w are not redrawn in training (section 4.2 does, now and then). Instead of the 1e-6 that the authors
add to every feature, features are scaled so that they cannot all vanish, without changing any weight: each feature by
its largest value over all keys and back for the queries, then the features of each query by their largest. A sum of
weights is then at least 1. See ``kernel.py`` for the rest.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from regard.nn.attention.core import Card, check_at_least
from regard.nn.attention.kernel import KernelAttention

MINIMUM = 32
"""Fewest features where no number is given: d log d is next to nothing for narrow heads."""


class Performer(KernelAttention):
    """Multi-head attention with positive orthogonal random features.

    Args:
        in_channels: channels of the input and the output; a multiple of ``num_heads``.
        num_heads: number of heads, each of d = ``in_channels / num_heads`` channels.
        features: m, of each head; d log d as the paper advises, at least 32, if None.
        pos_embed: kind of position, see ``POSITIONS``; not relative ones, which need the scores of all pairs.

    Raises:
        RegardError: ``num_heads`` does not divide ``in_channels``, ``features`` is not positive, or the positions are
            unknown or do not fit.
    """

    card = Card(
        family="kernel",
        paper="2009.14794",
        equation="b_i = phi(q_i) sum_j phi(k_j)^T v_j / phi(q_i) . sum_j phi(k_j), phi_w(x) = exp(w . x - |x|^2 / 2)",
        parameters="4 * C**2 + 4 * C",
        flops="8 * N * C**2 + 8 * N * C * features + 2 * N * num_heads * features",
        peers=("softmax attention, as m grows", "the explicit kernel matrix"),
        when="When softmax attention itself should be estimated at a cost that grows linearly with N; the error"
        " falls with the square root of the number of features.",
    )

    def __init__(
        self, in_channels: int, num_heads: int = 4, features: int | None = None, pos_embed: str = "none"
    ) -> None:
        super().__init__(in_channels, num_heads, pos_embed)
        check_at_least("Performer", "features", 1 if features is None else features, 1)
        channels = in_channels // num_heads
        self.features = features or max(MINIMUM, math.ceil(channels * math.log(channels)))
        self.directions: Tensor
        self.register_buffer("directions", orthogonal_gaussians(self.features, channels))

    def feature_maps(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Queries (B, heads, M, d) and keys (B, heads, N, d) -> their features, (B, heads, M or N, m)."""
        directions = self.directions.to(q.dtype).T / q.shape[-1] ** 0.25
        along_q = q @ directions  # |q|^2 / 2 is the same for all features of a query: it cancels
        along_k = k @ directions - k.square().sum(-1, keepdim=True) / (2 * math.sqrt(k.shape[-1]))
        of_feature = along_k.detach().amax(-2, keepdim=True)
        along_q = along_q + of_feature
        return (along_q - along_q.detach().amax(-1, keepdim=True)).exp(), (along_k - of_feature).exp()


def orthogonal_gaussians(count: int, channels: int) -> Tensor:
    """Draw (count, channels) Gaussian vectors, in blocks of ``channels`` orthogonal ones (2009.14794, section 2.4).

    Directions are uniform; lengths are those of independent Gaussian vectors.
    """
    q, r = torch.linalg.qr(torch.randn(math.ceil(count / channels), channels, channels))
    blocks = q * r.diagonal(dim1=-2, dim2=-1).sign()[:, None]  # columns of q alone prefer one half of the space
    lengths = torch.randn(count, channels).norm(dim=1, keepdim=True)
    return blocks.transpose(-2, -1).flatten(0, 1)[:count] * lengths
