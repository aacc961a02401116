"""What all kinds of attention through a kernel keep; test_linear.py and test_performer.py hold what is their own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from regard.errors import RegardError
from regard.nn.attention.efficient import EfficientAttention
from regard.nn.attention.kernel import KernelAttention, share
from regard.nn.attention.linear import LinearAttention, ReLULinearAttention
from regard.nn.attention.performer import Performer

every_kernel = pytest.mark.parametrize("kind", [LinearAttention, ReLULinearAttention, Performer, EfficientAttention])


def explicit(module: KernelAttention, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the output and the N x N weights phi(Q) phi(K)^T / its row sums."""
    q, k, v = module.project(x)
    phi_q, phi_k = module.feature_maps(q, k)
    kernel = torch.einsum("bhim,bhjm->bhij", phi_q, phi_k)
    weights = (kernel / kernel.sum(-1, keepdim=True)).nan_to_num(0)  # no key shares a feature with the query: 0 / 0
    mixed = torch.einsum("bhij,bhjd->bihd", weights, v).flatten(2)
    return module.out(mixed).transpose(1, 2).view_as(x), weights


@every_kernel
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3)])
def test_equals_the_explicit_kernel_matrix(kind: type[KernelAttention], size: tuple[int, int]) -> None:
    module, x = kind(32, num_heads=2).double(), torch.randn(2, 32, *size, dtype=torch.float64)
    expected, weights = explicit(module, x)
    torch.testing.assert_close(module(x), expected, rtol=0, atol=1e-12)
    for row, column in {(0, 0), (size[0] - 1, size[1] - 1), (size[0] // 2, size[1] // 3)}:
        found = module.attention(x, (row, column)).weights[:, :, 0].flatten(2)
        torch.testing.assert_close(found, weights[:, :, row * size[1] + column], rtol=0, atol=1e-12)
        sums = found.sum(-1)
        torch.testing.assert_close(sums, (sums > 0).double(), rtol=0, atol=1e-12)
        assert (sums > 0).all() or kind is ReLULinearAttention


@every_kernel
def test_equals_the_explicit_kernel_matrix_in_float32(kind: type[KernelAttention]) -> None:
    module, x = kind(32, num_heads=2), torch.randn(2, 32, 13, 9)
    torch.testing.assert_close(module(x), explicit(module, x)[0], rtol=0, atol=1e-5)


@every_kernel
def test_duplicated_tokens_change_nothing(kind: type[KernelAttention]) -> None:
    module, x = kind(32).double(), torch.randn(2, 32, 3, 5, dtype=torch.float64)
    torch.testing.assert_close(module(torch.cat((x, x), 2))[:, :, :3], module(x), rtol=0, atol=1e-12)


@every_kernel
@pytest.mark.parametrize("positions", ["none", "rotary", "learned"])
def test_a_permutation_of_positions_matters_only_with_positions(kind: type[KernelAttention], positions: str) -> None:
    module = kind(32, pos_embed=positions).double()
    x, order = torch.randn(2, 32, 3, 5, dtype=torch.float64), torch.randperm(15)
    permuted = x.flatten(2)[:, :, order].view_as(x)
    same = torch.allclose(module(permuted).flatten(2), module(x).flatten(2)[:, :, order], rtol=0, atol=1e-12)
    assert same == (positions == "none")


@every_kernel
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_large_activations_in_half_precision(kind: type[KernelAttention], dtype: torch.dtype) -> None:
    """Against the same rounded queries, keys and values in float64: half precision is left only at the end."""
    module = kind(32)
    q, k, v = (torch.randn(1, 4, 1600, 8).mul(16).to(dtype) for _ in range(3))
    found = module.mix(q, k, v, (40, 40))
    assert found.dtype == dtype
    expected = module.mix(q.double(), k.double(), v.double(), (40, 40))
    torch.testing.assert_close(found.double(), expected, rtol=2 * torch.finfo(dtype).eps, atol=2e-3)


@every_kernel
def test_autocast_does_not_reach_the_sums(kind: type[KernelAttention]) -> None:
    module, (q, k, v) = kind(32), (torch.randn(1, 4, 400, 8) for _ in range(3))
    with torch.autocast("cpu", torch.bfloat16):
        under = module.mix(q, k, v, (20, 20))
    assert torch.equal(under, module.mix(q, k, v, (20, 20)))


@every_kernel
def test_relative_positions_are_refused(kind: type[KernelAttention]) -> None:
    with pytest.raises(RegardError, match=r"'relative' positions to\n.*none, sinusoidal, learned, conditional, rotary"):
        kind(32, pos_embed="relative")


def test_shares() -> None:
    products = torch.tensor([[1.0, 3.0, 4.0], [0.0, 0.0, 0.0]])
    assert share(products).tolist() == [[0.125, 0.375, 0.5], [0, 0, 0]]
    assert share(products, torch.tensor([True, True, False])).tolist() == [[0.25, 0.75, 0], [0, 0, 0]]
