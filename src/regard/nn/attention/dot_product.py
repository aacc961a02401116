"""Scaled dot-product attention (Vaswani et al., 1706.03762, equation 1).

b_i = sum_j a_ij v_j,  a_i = softmax_j(q_i . k_j / sqrt(d_k)).

Three forms: the weights alone, the written-out form that gives output and weights, and the fused kernel, which gives
the same output without ever holding the N x N weights. The softmax can be replaced; see ``normaliser.py``.
"""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F

from regard.nn.attention.normaliser import Normaliser, softmax


def attention_weights(
    q: Tensor,
    k: Tensor,
    normalise: Normaliser = softmax,
    *,
    bias: Tensor | None = None,
    allowed: Tensor | None = None,
) -> Tensor:
    """Return a_ij: (..., N, d_k), (..., M, d_k) -> (..., N, M).

    Args:
        q: queries.
        k: keys.
        normalise: what turns scores into weights.
        bias: added to the scaled scores; broadcasts to (..., N, M).
        allowed: True where a query may see a key; broadcasts to (..., N, M). The others get exactly 0.
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    return normalise(scores if bias is None else scores + bias, allowed)


def dot_product_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    normalise: Normaliser = softmax,
    *,
    bias: Tensor | None = None,
    allowed: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the output (..., N, d_v) and the weights (..., N, M), for values ``v`` of (..., M, d_v)."""
    weights = attention_weights(q, k, normalise, bias=bias, allowed=allowed)
    return weights @ v, weights


def fused_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    normalise: Normaliser = softmax,
    *,
    bias: Tensor | None = None,
    allowed: Tensor | None = None,
) -> Tensor:
    """Return the output alone, by the fused kernel where the normaliser is the softmax.

    The last dimension of ``q``, ``k`` and ``v`` has to be contiguous; with another layout the kernel would be left for
    a path of quadratic memory without a word. So it would be with values wider or narrower than keys: the narrower
    are filled up with zeros, which add nothing. Any other normaliser is written out, with quadratic memory.
    """
    if normalise is not softmax:
        return dot_product_attention(q, k, v, normalise, bias=bias, allowed=allowed)[0]
    mask = bias if allowed is None else allowed if bias is None else bias.masked_fill(~allowed, -math.inf)
    if mask is not None and 2 < mask.ndim < q.ndim:
        mask = mask[(None,) * (q.ndim - mask.ndim)]  # the kernel takes masks of two dimensions or of all
    d_k, d_v = q.shape[-1], v.shape[-1]
    wide = max(d_k, d_v)
    q, k, v = (t if t.shape[-1] == wide else F.pad(t, (0, wide - t.shape[-1])) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=1 / math.sqrt(d_k))[..., :d_v]
