from __future__ import annotations

import math

import pytest
import torch
from timm.layers.cbam import CbamModule

from regard.errors import RegardError
from regard.nn.attention.cbam import CBAM


def test_equals_timm() -> None:
    peer = CbamModule(32, rd_ratio=1 / 8).double().eval()
    norm = peer.spatial.conv.bn
    norm.running_var.fill_(0.7)  # its batch norm is folded; its mean and offset stay 0, since ours has no bias
    block = CBAM(32, reduction=8).double()
    block.fc1.weight.data = peer.channel.fc1.weight.data.flatten(1)
    block.fc2.weight.data = peer.channel.fc2.weight.data.flatten(1)
    block.conv.weight.data = peer.spatial.conv.conv.weight.data / math.sqrt(0.7 + norm.eps)
    x = torch.randn(2, 32, 11, 13, dtype=torch.float64)
    assert torch.allclose(block(x), peer(x), rtol=0, atol=1e-12)


def test_by_hand() -> None:
    block = CBAM(1, kernel_size=1).double()
    for layer, values in ((block.fc1, [2.0]), (block.fc2, [0.5]), (block.conv, [3.0, -1.0])):
        layer.weight.data = torch.tensor(values, dtype=torch.float64).view_as(layer.weight)
    x = torch.tensor([[[[1.0, 2.0, 6.0]]]], dtype=torch.float64)  # mean 3, maximum 6: the MLP gives 3 + 6
    channel = 1 / (1 + math.exp(-9))
    expected = [channel / (1 + math.exp(-2 * value * channel)) for value in (1, 2, 6)]  # of one channel mean = maximum
    found = block.attention(x)
    assert found.kind == "elements"
    assert torch.allclose(found.weights.flatten(), torch.tensor(expected, dtype=torch.float64), atol=1e-14)
    assert torch.allclose(block(x), x * found.weights, atol=1e-14)


def test_options() -> None:
    assert CBAM(12).hidden == 1
    assert "one hidden unit" in CBAM(12).note
    assert CBAM(16).note == ""
    with pytest.raises(RegardError, match="reduction 0 is too small"):
        CBAM(16, 0)
    with pytest.raises(RegardError, match=r"kernel_size 6[\s\S]*nearest is 7"):
        CBAM(16, kernel_size=6)
