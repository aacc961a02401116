from __future__ import annotations

import math

import pytest
import torch
from timm.layers.squeeze_excite import SEModule

from regard.errors import RegardError
from regard.nn.attention.scse import ScSE


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_equals_timm_plus_a_weight_by_position(dtype: torch.dtype, atol: float) -> None:
    peer, block = SEModule(12, rd_channels=6, bias=False).to(dtype), ScSE(12).to(dtype)
    block.cse.l1.weight.data = peer.fc1.weight.data.flatten(1)
    block.cse.l2.weight.data = peer.fc2.weight.data.flatten(1)
    x = torch.randn(2, 12, 7, 5, dtype=dtype)
    by_position = torch.einsum("c,bchw->bhw", block.sse.weight.flatten(), x).sigmoid()
    torch.testing.assert_close(block(x), peer(x) + x * by_position[:, None], rtol=0, atol=atol)


def test_by_hand() -> None:
    """One channel of values 1 and 3: its mean 2 becomes 2 * 0.5 * 3, its positions weigh by themselves."""
    block = ScSE(1).double()
    for weight, value in ((block.cse.l1.weight, 0.5), (block.cse.l2.weight, 3.0), (block.sse.weight, 1.0)):
        torch.nn.init.constant_(weight, value)
    found = block.attention(torch.tensor([1.0, 3]).double().view(1, 1, 1, 2)).weights.flatten().tolist()
    torch.testing.assert_close(found, [1 / (1 + math.exp(-3)) + 1 / (1 + math.exp(-s)) for s in (1, 3)])


def test_options() -> None:
    assert ScSE(12).hidden == 6
    assert "one hidden unit" in ScSE(12, 16).note
    with pytest.raises(RegardError, match="ScSE: reduction 0 is too small"):
        ScSE(8, 0)
