"""What is its own; test_kernel.py holds what all kernel kinds keep."""

from __future__ import annotations

import math

import pytest
import torch

from regard.nn.attention.core import merge_heads, to_map
from regard.nn.attention.efficient import EfficientAttention


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3)])
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_equals_the_papers_form_with_all_pairs(size: tuple[int, int], dtype: torch.dtype, atol: float) -> None:
    module, x = EfficientAttention(12, num_heads=3).to(dtype), 2 * torch.randn(2, 12, *size, dtype=dtype)
    q, k, v = module.project(x)
    rho_q = q.exp() / q.exp().sum(3, keepdim=True)
    rho_k = k.exp() / k.exp().sum(2, keepdim=True)
    pairs = torch.einsum("bhid,bhjd->bhij", rho_q, rho_k)
    torch.testing.assert_close(pairs.sum(-1), torch.ones_like(pairs[..., 0]), rtol=0, atol=atol)
    torch.testing.assert_close(module(x), to_map(module.out(merge_heads(pairs @ v)), size), rtol=0, atol=atol)


def test_by_hand() -> None:
    """Two positions, two channels: each channel of the keys gathers a value, the query weighs the two of them."""
    log = math.log
    q = torch.tensor([[log(3), 0.0], [0.0, 0.0]])[None, None].double()
    k = torch.tensor([[log(4), 0.0], [0.0, log(9)]])[None, None].double()
    v = torch.tensor([[10.0, 0.0], [0.0, 100.0]])[None, None].double()
    gathered = [[8.0, 20.0], [1.0, 90.0]]  # shares 4/5, 1/5 of the first channel; 1/10, 9/10 of the second
    expected = [[0.75 * a + 0.25 * b for a, b in zip(*gathered, strict=True)], [4.5, 55.0]]
    mixed = EfficientAttention(2, num_heads=1).double().mix(q, k, v, (1, 2))
    torch.testing.assert_close(mixed[0, 0], torch.tensor(expected, dtype=torch.float64))
