from __future__ import annotations

import math

import pytest
import torch

from regard.errors import RegardError
from regard.nn.attention.agent import AgentAttention
from regard.nn.attention.self_attention import MultiHeadSelfAttention


def test_by_matrices() -> None:
    module, x = AgentAttention(6, 2, grid=2, kernel=0).double(), torch.randn(2, 6, 4, 6, dtype=torch.float64)
    y = module(x)
    q, k, v = module.project(x)
    cells = [[i * 6 + j for i in range(a, a + 2) for j in range(b, b + 3)] for a in (0, 2) for b in (0, 3)]
    for head in range(2):
        for image in range(2):
            agents = torch.stack([q[image, head, cell].mean(0) for cell in cells])
            gather = (agents @ k[image, head].T / math.sqrt(3)).softmax(-1)
            spread = (q[image, head] @ agents.T / math.sqrt(3)).softmax(-1)
            row = module.attention(x[image : image + 1], (3, 2)).weights[0, head, 0].flatten()
            torch.testing.assert_close((spread @ gather)[20], row, rtol=0, atol=1e-12)
    mixed = module.mix(q, k, v, (4, 6))
    torch.testing.assert_close(module.join(mixed, v, (4, 6)), y, rtol=0, atol=1e-12)


def test_an_agent_for_every_position_still_goes_two_steps() -> None:
    """Unlike Nyström attention it does not become plain attention: the pseudo-inverse between is missing."""
    module = AgentAttention(8, 2, grid=4, kernel=0).double()
    plain = MultiHeadSelfAttention(8, 2).double()
    plain.load_state_dict(module.state_dict())
    x = torch.randn(1, 8, 4, 4, dtype=torch.float64)
    q, k, _ = module.project(x)
    one = (q @ k.mT / 2).softmax(-1)
    two = (q @ q.mT / 2).softmax(-1) @ one
    torch.testing.assert_close(
        module.attention(x, (0, 0)).weights.flatten(-2)[:, :, 0], two[:, :, 0], rtol=0, atol=1e-12
    )
    assert not torch.allclose(module(x), plain(x))


def test_options() -> None:
    with pytest.raises(RegardError, match="grid 0"):
        AgentAttention(8, 2, 0)
