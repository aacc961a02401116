from __future__ import annotations

import math

import pytest
import torch

from regard.errors import RegardError
from regard.nn.attention.se import SE


@pytest.mark.parametrize(("channels", "ratio"), [(6, 2), (7, 3), (5, 16)])
def test_se_by_loops(channels: int, ratio: int) -> None:
    block, x = SE(channels, ratio).double(), torch.randn(2, channels, 3, 5, dtype=torch.float64)
    y = block(x)
    hidden = max(1, channels // ratio)
    for b in range(2):
        z = [sum(x[b, c].flatten().tolist()) / 15 for c in range(channels)]
        h = [max(0.0, sum(block.l1.weight[k, c].item() * z[c] for c in range(channels))) for k in range(hidden)]
        for c in range(channels):
            s = 1 / (1 + math.exp(-sum(block.l2.weight[c, k].item() * h[k] for k in range(hidden))))
            assert torch.allclose(y[b, c], s * x[b, c])


def test_parameters_are_those_that_tutorials_paste() -> None:
    shapes = {key: tuple(t.shape) for key, t in SE(48).state_dict().items()}
    assert shapes == {"l1.weight": (3, 48), "l2.weight": (48, 3)}


def test_too_few_channels_give_one_hidden_unit_and_a_note() -> None:
    assert SE(12).l1.weight.shape == (1, 12)
    assert "one hidden unit" in SE(12).note
    assert SE(16).note == ""
    with pytest.raises(RegardError, match="reduction 0 is too small"):
        SE(16, 0)


def test_gradcheck() -> None:
    x = torch.randn(2, 5, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(SE(5, 2).double(), (x,))


def test_the_map_holds_the_weights_that_forward_used() -> None:
    block, x = SE(19), torch.rand(2, 19, 7, 5) + 0.1
    found = block.attention(x)
    assert found.kind == "channel"
    assert found.weights.shape == (2, 19)
    assert torch.allclose(block(x) / x, found.weights[:, :, None, None].expand_as(x), atol=1e-6)
    assert block.out_channels == 19
    assert block(torch.rand(0, 19, 7, 5)).shape == (0, 19, 7, 5)
