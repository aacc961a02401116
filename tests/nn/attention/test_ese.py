from __future__ import annotations

import math

import pytest
import torch
from timm.layers.squeeze_excite import EffectiveSEModule

from regard.errors import RegardError
from regard.nn.attention.ese import ESE


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
