from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from regard.nn.attention.dot_product import attention_weights, dot_product_attention, fused_attention
from regard.nn.attention.normaliser import NORMALISERS, Normaliser, softmax


@pytest.fixture
def qkv() -> tuple[Tensor, Tensor, Tensor]:
    """Five queries, seven keys; two images, three heads; d_k = d_v = 11."""
    return tuple(torch.randn(2, 3, n, 11, dtype=torch.float64) for n in (5, 7, 7))


def by_loops(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Softmax attention, one number at a time."""
    weights = torch.zeros(*q.shape[:-1], k.shape[-2], dtype=torch.float64)
    output = torch.zeros(*q.shape[:-1], v.shape[-1], dtype=torch.float64)
    for b, h, i in torch.cartesian_prod(*(torch.arange(n) for n in q.shape[:3])).tolist():
        exps = []
        for j in range(k.shape[-2]):
            product = sum(q[b, h, i, c].item() * k[b, h, j, c].item() for c in range(q.shape[-1]))
            score = product / math.sqrt(q.shape[-1]) + (0.0 if bias is None else bias[h, i, j].item())
            exps.append(math.exp(score) if allowed is None or allowed[i, j] else 0.0)
        for j, e in enumerate(exps):
            weights[b, h, i, j] = e / sum(exps)
            output[b, h, i] += e / sum(exps) * v[b, h, j]
    return output, weights


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_by_loops(qkv: tuple[Tensor, Tensor, Tensor], masked: bool, biased: bool) -> None:
    allowed = torch.rand(5, 7) > 0.5 if masked else None
    if allowed is not None:
        allowed[:, 2] = True
    bias = torch.randn(3, 5, 7, dtype=torch.float64) if biased else None
    output, weights = dot_product_attention(*qkv, bias=bias, allowed=allowed)
    expected, expected_weights = by_loops(*qkv, allowed, bias)
    torch.testing.assert_close(weights, expected_weights, rtol=0, atol=1e-12)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(fused_attention(*qkv, bias=bias, allowed=allowed), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("normalise", NORMALISERS.values())
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_fused_equals_written_out(
    qkv: tuple[Tensor, Tensor, Tensor], normalise: Normaliser, dtype: torch.dtype
) -> None:
    q, k, v = (t.to(dtype) for t in qkv)
    output, weights = dot_product_attention(q, k, v, normalise)
    assert torch.equal(weights, attention_weights(q, k, normalise))
    atol = 1e-12 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(output, weights @ v, rtol=0, atol=0)
    torch.testing.assert_close(fused_attention(q, k, v, normalise), output, rtol=0, atol=atol)


def test_a_new_normaliser_is_one_function(qkv: tuple[Tensor, Tensor, Tensor]) -> None:
    def mean(scores: Tensor, allowed: Tensor | None) -> Tensor:
        assert allowed is None
        return torch.full_like(scores, 1 / scores.shape[-1])

    expected = qkv[2].mean(-2, keepdim=True).expand(-1, -1, 5, -1)
    torch.testing.assert_close(fused_attention(*qkv, mean), expected, rtol=0, atol=1e-12)


def test_equals_the_kernel_of_torch(qkv: tuple[Tensor, Tensor, Tensor]) -> None:
    expected = F.scaled_dot_product_attention(*qkv)
    torch.testing.assert_close(dot_product_attention(*qkv)[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("d_v", [3, 13])
def test_values_of_another_width_than_keys(qkv: tuple[Tensor, Tensor, Tensor], d_v: int) -> None:
    q, k, _ = qkv
    v = torch.randn(2, 3, 7, d_v, dtype=torch.float64)
    found = fused_attention(q, k, v)
    torch.testing.assert_close(found, softmax(q @ k.mT / math.sqrt(11), None) @ v, rtol=0, atol=1e-12)
