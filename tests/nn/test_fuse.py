"""Folding batch norms: the same answer, and a copy that leaves the original as it was."""

from __future__ import annotations

import torch

from regard.nn.conv import Conv
from regard.nn.fuse import fuse


def test_a_folded_copy_answers_alike_and_the_original_stays() -> None:
    layer, x = Conv(3, 5, 3).double(), torch.randn(2, 3, 7, 11, dtype=torch.float64)
    for _ in range(3):
        layer(x)  # its own statistics
    layer.eval()
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    copy = fuse(layer)
    torch.testing.assert_close(copy(x), layer(x))
    assert list(copy.state_dict()) == ["conv.weight", "conv.bias"]
    assert list(layer.state_dict()) == list(before)
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name])
