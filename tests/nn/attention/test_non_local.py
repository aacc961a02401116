from __future__ import annotations

import math

import pytest
import torch
from timm.layers import NonLocalAttn
from torch import Tensor

from regard.errors import RegardError
from regard.nn.attention.non_local import NonLocal


def test_equals_timm() -> None:
    peer = NonLocalAttn(24, use_scale=False, rd_channels=12).double().eval()
    peer.norm.weight.data.fill_(math.sqrt(1 + peer.norm.eps))  # its batch norm becomes the identity
    block = NonLocal(24).double()
    for ours, theirs in ((block.theta, peer.t), (block.phi, peer.p), (block.g, peer.g), (block.w_z, peer.z)):
        torch.nn.init.normal_(theirs.bias)
        ours.load_state_dict({"weight": theirs.weight.flatten(1), "bias": theirs.bias})
    x = torch.randn(2, 24, 7, 5, dtype=torch.float64)
    torch.testing.assert_close(block(x), peer(x), rtol=0, atol=1e-12)


def explicit(block: NonLocal, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return output and weights by the definition, pair by pair; ``x`` is (C, H, W)."""
    tokens = x.flatten(1).T
    theta, phi, g = block.theta(tokens), block.phi(tokens), block.g(tokens)
    n = len(tokens)
    f = torch.stack([torch.stack([(theta[i] * phi[j]).sum() for j in range(n)]) for i in range(n)])
    weights = f / n if block.form == "dot_product" else f.exp() / f.exp().sum(1, keepdim=True)
    return x + block.w_z(weights @ g).T.view_as(x), weights


@pytest.mark.parametrize("form", ["embedded_gaussian", "dot_product"])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 5)])
def test_by_pairs(form: str, size: tuple[int, int]) -> None:
    block, x = NonLocal(6, form=form).double(), torch.randn(2, 6, *size, dtype=torch.float64)
    y = block(x)
    for image in range(2):
        expected, weights = explicit(block, x[image])
        torch.testing.assert_close(y[image], expected, rtol=0, atol=1e-12)
        for row in range(size[0]):
            for column in range(size[1]):
                found = block.attention(x, (row, column))
                torch.testing.assert_close(
                    found.weights[image].flatten(), weights[row * size[1] + column], rtol=0, atol=1e-12
                )
                assert found.queries == ((row, column),)


def test_the_dot_product_never_holds_the_pairs() -> None:
    block, x = NonLocal(8, form="dot_product"), torch.randn(1, 8, 100, 100)
    with torch.no_grad(), torch.autograd.profiler.profile(profile_memory=True) as profile:
        block(x)
    assert max(event.cpu_memory_usage for event in profile.function_events) < 10**7  # 10,000^2 floats are 4 * 10^8


def test_half_precision_sums_do_not_overflow() -> None:
    block, x = NonLocal(32, form="dot_product"), torch.randn(1, 32, 20, 20).half() * 16
    torch.testing.assert_close(block.half()(x).float(), block.float()(x.float()), rtol=0.02, atol=1.0)


def test_a_zero_start_is_the_identity_and_says_what_that_means() -> None:
    x = torch.randn(2, 8, 3, 5)
    assert torch.equal(NonLocal(8, zero_start=True)(x), x)
    assert "never learn" in NonLocal(8, zero_start=True).note
    assert (NonLocal(8)(x) - x).abs().mean() > 0.01
    assert NonLocal(8).note == ""


def test_options() -> None:
    assert NonLocal(1).inner == 1
    with pytest.raises(RegardError, match=r"unknown form 'dot_produkt'[\s\S]*did you mean 'dot_product'"):
        NonLocal(8, form="dot_produkt")
    with pytest.raises(RegardError, match="reduction 0 is too small"):
        NonLocal(8, 0)
