from __future__ import annotations

import math

import pytest
import torch
from timm.models.efficientvit_mit import LiteMLA

from regard.nn.attention.linear import LinearAttention, ReLULinearAttention


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
    torch.testing.assert_close(block(x), peer(x), rtol=0, atol=1e-5)  # the peer's sums are float32 whatever its input


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
