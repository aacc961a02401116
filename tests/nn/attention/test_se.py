from __future__ import annotations

import math

import pytest
import torch
from timm.layers.squeeze_excite import EffectiveSEModule, SEModule

from regard.errors import RegardError
from regard.nn.attention.se import ESE, SE, ScSE


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


@pytest.mark.parametrize("gate", ["sigmoid", "hard_sigmoid"])
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_equals_timm(gate: str, dtype: torch.dtype, atol: float) -> None:
    peer, block = EffectiveSEModule(19, gate_layer=gate).to(dtype), ESE(19, gate).to(dtype)
    block.fc.load_state_dict({"weight": peer.fc.weight.flatten(1), "bias": peer.fc.bias})
    x = 3 * torch.randn(2, 19, 7, 5, dtype=dtype)
    torch.testing.assert_close(block(x), peer(x), rtol=0, atol=atol)


def test_by_hand() -> None:
    """Two channels with means 2 and -1; the scores are 2 - (-1) + 0.5 and 2 * 2."""
    block = ESE(2).double()
    block.load_state_dict({"fc.weight": torch.tensor([[1.0, -1], [2, 0]]), "fc.bias": torch.tensor([0.5, 0])})
    x = torch.tensor([[[[1.0, 3]], [[-1, -1]]]], dtype=torch.float64)
    first, second = 1 / (1 + math.exp(-3.5)), 1 / (1 + math.exp(-4))
    torch.testing.assert_close(block(x).flatten().tolist(), [first, 3 * first, -second, -second])


def test_options() -> None:
    with pytest.raises(RegardError, match=r"unknown gate 'hard'[\s\S]*hard_sigmoid"):
        ESE(8, "hard")


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_equals_timm_plus_a_weight_by_position(dtype: torch.dtype, atol: float) -> None:
    peer, block = SEModule(12, rd_channels=6, bias=False).to(dtype), ScSE(12).to(dtype)
    block.cse.l1.weight.data = peer.fc1.weight.data.flatten(1)
    block.cse.l2.weight.data = peer.fc2.weight.data.flatten(1)
    x = torch.randn(2, 12, 7, 5, dtype=dtype)
    by_position = torch.einsum("c,bchw->bhw", block.sse.weight.flatten(), x).sigmoid()
    torch.testing.assert_close(block(x), peer(x) + x * by_position[:, None], rtol=0, atol=atol)


def test_by_hand_of_scse() -> None:
    """One channel of values 1 and 3: its mean 2 becomes 2 * 0.5 * 3, its positions weigh by themselves."""
    block = ScSE(1).double()
    for weight, value in ((block.cse.l1.weight, 0.5), (block.cse.l2.weight, 3.0), (block.sse.weight, 1.0)):
        torch.nn.init.constant_(weight, value)
    found = block.attention(torch.tensor([1.0, 3]).double().view(1, 1, 1, 2)).weights.flatten().tolist()
    torch.testing.assert_close(found, [1 / (1 + math.exp(-3)) + 1 / (1 + math.exp(-s)) for s in (1, 3)])


def test_options_of_scse() -> None:
    assert ScSE(12).hidden == 6
    assert "one hidden unit" in ScSE(12, 16).note
    with pytest.raises(RegardError, match="ScSE: reduction 0 is too small"):
        ScSE(8, 0)
