from __future__ import annotations

import math

import pytest
import torch
from timm.models.efficientvit_mit import LiteMLA
from torch import Tensor

from regard.errors import RegardError
from regard.nn.attention.core import merge_heads, to_map
from regard.nn.attention.kernel import EfficientAttention, KernelAttention, LinearAttention, ReLULinearAttention, share
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
def test_relative_positions_are_rejected(kind: type[KernelAttention]) -> None:
    with pytest.raises(RegardError, match=r"'relative' positions\n.*none, sinusoidal, learned, conditional, rotary"):
        kind(32, pos_embed="relative")


def test_shares() -> None:
    products = torch.tensor([[1.0, 3.0, 4.0], [0.0, 0.0, 0.0]])
    assert share(products).tolist() == [[0.125, 0.375, 0.5], [0, 0, 0]]
    assert share(products, torch.tensor([True, True, False])).tolist() == [[0.25, 0.75, 0], [0, 0, 0]]


def test_relu_equals_timm() -> None:
    """LiteMLA without scales; its queries, keys and values lie head by head, ours kind by kind."""
    peer = LiteMLA(24, 24, heads=3, dim=8, use_bias=True, norm_layer=(None, None), scales=(), eps=0.0)
    peer._attn = peer.double()._attn
    block = ReLULinearAttention(24, num_heads=3).double()
    order = torch.arange(72).view(3, 3, 8).transpose(0, 1).flatten()
    block.qkv.weight.data = peer.qkv.conv.weight.data.flatten(1)[order]
    block.qkv.bias.data = peer.qkv.conv.bias.data[order]
    block.out.weight.data = peer.proj.conv.weight.data.flatten(1)
    block.out.bias.data = peer.proj.conv.bias.data
    x = torch.randn(2, 24, 7, 5, dtype=torch.float64)
    torch.testing.assert_close(block(x), peer(x), rtol=0, atol=1e-5)  # the peer's sums are float32 for any input


def test_elu_by_hand() -> None:
    """Two tokens, one channel: features are x + 1 above 0 and exp(x) below."""
    q, k, v = (torch.tensor(t, dtype=torch.float64).view(1, 1, 2, 1) for t in ([2.0, -1.0], [0.0, -2.0], [5.0, 7.0]))
    module = LinearAttention(1, num_heads=1).double()
    phi_k = (1.0, math.exp(-2))
    expected = (5 * phi_k[0] + 7 * phi_k[1]) / sum(phi_k)  # of one channel, the query cancels
    torch.testing.assert_close(module.mix(q, k, v, (1, 2)).flatten(), torch.full((2,), expected, dtype=torch.float64))
    phi_q, _ = module.feature_maps(q, k)
    torch.testing.assert_close(phi_q.flatten(), torch.tensor([3.0, math.exp(-1)], dtype=torch.float64))


def test_features_stay_positive_far_below_zero() -> None:
    phi_q, phi_k = LinearAttention(4).feature_maps(torch.tensor([-40.0]), torch.tensor([0.0]))
    assert phi_q.item() == pytest.approx(math.exp(-40), rel=1e-5)
    assert phi_k.item() == 1


def test_a_query_without_features_gets_nothing_and_harms_nothing() -> None:
    module = ReLULinearAttention(4, num_heads=1)
    q, k, v = -torch.ones(1, 1, 3, 4), torch.ones(1, 1, 3, 4), torch.ones(1, 1, 3, 4)
    q[..., 0, :] = 1
    leaves = [t.requires_grad_() for t in (q, k, v)]
    mixed = module.mix(*leaves, (1, 3))
    assert mixed[0, 0].tolist() == [[1] * 4, [0] * 4, [0] * 4]
    mixed.square().sum().backward()
    assert all(t.grad is not None and t.grad.isfinite().all() for t in leaves)


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
