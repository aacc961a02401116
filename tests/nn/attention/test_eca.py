from __future__ import annotations

import math

import pytest
import torch
from timm.layers import EcaModule

from regard.errors import RegardError
from regard.nn.attention.eca import ECA, adaptive_kernel_size


@pytest.mark.parametrize("channels", [1, 3, 8, 30, 64, 256, 1024])
def test_equals_timm(channels: int) -> None:
    peer = EcaModule(channels).double()
    block = ECA(channels).double()
    block.load_state_dict(peer.state_dict())  # the authors' name of the one weight is kept
    x = torch.randn(2, channels, 7, 5, dtype=torch.float64)
    assert torch.allclose(block(x), peer(x), rtol=0, atol=1e-12)


def test_by_hand() -> None:
    block = ECA(4).double()
    block.conv.weight.data = torch.tensor([[[1.0, -2.0, 3.0]]], dtype=torch.float64)
    x = torch.tensor([1.0, 2.0, 0.0, -1.0], dtype=torch.float64)[None, :, None, None].expand(1, 4, 3, 5)
    # conv over the means: 0-2+6, 1-4+0, 2-0-3, 0+2+0
    expected = [1 / (1 + math.exp(-s)) for s in (4.0, -3.0, -1.0, 2.0)]
    assert block.attention(x).kind == "channel"
    assert torch.allclose(block.attention(x).weights, torch.tensor([expected], dtype=torch.float64), atol=1e-14)


@pytest.mark.parametrize("channels", [*range(8, 700, 13), 128, 2048])
def test_the_kernel_is_the_odd_number_nearest_to_the_formula(channels: int) -> None:
    exact = (math.log2(channels) + 1) / 2
    found = adaptive_kernel_size(channels)
    assert found % 2 == 1
    assert abs(found - exact) <= 1 or found == 3


def test_kernel_sizes_of_the_paper() -> None:
    assert [adaptive_kernel_size(c) for c in (16, 64, 128, 256, 512, 1024)] == [3, 3, 5, 5, 5, 5]
    assert ECA(64, 9).kernel_size == 9
    with pytest.raises(RegardError, match=r"kernel_size 4[\s\S]*nearest is 5"):
        ECA(64, 4)
    with pytest.raises(RegardError, match="gamma 0 is not positive"):
        ECA(64, gamma=0)
