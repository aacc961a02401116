from __future__ import annotations

import copy
import math
from itertools import pairwise

import pytest
import torch

from regard.errors import RegardError
from regard.nn.attention.core import attention_weights
from regard.nn.attention.performer import Performer, orthogonal_gaussians


def error(features: int, draws: int = 24) -> float:
    """Return the root mean square error of the weights, against softmax attention on the same queries and keys."""
    generator = torch.Generator().manual_seed(7)
    q, k = (torch.randn(1, 1, 61, 16, dtype=torch.float64, generator=generator) * 0.35 for _ in range(2))
    exact = attention_weights(q, k)
    squares = []
    for seed in range(draws):
        torch.manual_seed(seed)
        module = Performer(16, num_heads=1, features=features)
        phi_q, phi_k = module.feature_maps(q, k)
        squares.append((module.activation(phi_q @ phi_k.mT, None) - exact).square().mean())
    return float(torch.stack(squares).mean().sqrt())


def test_the_error_falls_as_one_over_the_root_of_the_features() -> None:
    errors = [error(m) for m in (64, 256, 1024, 4096)]
    slope = math.log(errors[-1] / errors[0]) / math.log(64)
    assert slope == pytest.approx(-0.5, abs=0.06)
    for coarse, fine in pairwise(errors):
        assert coarse / fine == pytest.approx(2, rel=0.25)
    assert errors[-1] < 0.1 / 61  # a tenth of a mean weight


def test_features_estimate_the_exponential_without_bias() -> None:
    """E[phi(q) phi(k)] = exp(q . k / sqrt(d)), by the ratio of two keys' products, in which all scalings cancel."""
    torch.manual_seed(3)
    module = Performer(4, num_heads=1, features=40_000).double()
    q = torch.tensor([0.3, -0.5, 0.8, 0.1], dtype=torch.float64).view(1, 1, 1, 4)
    k = torch.tensor([[0.5, 0.2, -0.7, 0.4], [-0.1, 0.9, 0.3, -0.6]], dtype=torch.float64).view(1, 1, 2, 4)
    phi_q, phi_k = module.feature_maps(q, k)
    one, other = (phi_q @ phi_k.mT).flatten().tolist()
    expected = math.exp(float((q[0, 0, 0] * (k[0, 0, 0] - k[0, 0, 1])).sum()) / 2)
    assert one / other == pytest.approx(expected, rel=0.02)


def test_directions_are_orthogonal_in_blocks_with_gaussian_lengths() -> None:
    torch.manual_seed(0)
    w = orthogonal_gaussians(2000, 16).double()
    assert w.shape == (2000, 16)
    for block in w.split(16):
        gram = block @ block.T
        assert (gram - gram.diagonal().diag()).abs().max() < 1e-4
    assert float(w.square().sum(1).mean()) == pytest.approx(16, rel=0.05)  # chi-squared of 16
    assert float(w.square().sum(1).var()) == pytest.approx(32, rel=0.2)
    assert w.mean(0).abs().max() < 0.1  # no half of the space is preferred
    torch.testing.assert_close(w.T @ w / 2000, torch.eye(16, dtype=torch.float64), rtol=0, atol=0.15)


def test_drawn_once_saved_and_copied() -> None:
    module, x = Performer(32), torch.randn(2, 32, 5, 3)
    y = module(x)
    assert torch.equal(copy.deepcopy(module)(x), y)
    other = Performer(32)
    assert not torch.equal(other.directions, module.directions)
    assert other.load_state_dict(module.state_dict()).missing_keys == []
    assert torch.equal(other(x), y)
    assert not any(p is module.directions for p in module.parameters())
    torch.manual_seed(5)
    first = Performer(32).directions
    torch.manual_seed(5)
    assert torch.equal(Performer(32).directions, first)


def test_far_apart_queries_and_keys_neither_overflow_nor_vanish() -> None:
    """Without scaling, exp(-|k|^2 / 2) is 0 in float32 for every key here, and a row would be 0 / 0."""
    module = Performer(8, num_heads=1, features=64)
    q, k = torch.randn(1, 1, 50, 8) * 100, torch.randn(1, 1, 50, 8) * 100
    phi_q, phi_k = module.feature_maps(q, k)
    weights = module.activation(phi_q @ phi_k.mT, None)
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 1, 50))
    assert float((phi_q @ phi_k.mT).sum(-1).min()) >= 1 - 1e-6


def test_options() -> None:
    assert Performer(256).features == math.ceil(64 * math.log(64)) == 267
    assert Performer(4).features == 32
    assert Performer(32, features=7).directions.shape == (7, 8)
    with pytest.raises(RegardError, match="features 0"):
        Performer(32, features=0)
