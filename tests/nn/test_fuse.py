"""Folding batch norms: the same answer, and a copy that leaves the original as it was."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from regard.nn.cib import C2fCIB, RepVGGDW
from regard.nn.conv import Conv
from regard.nn.fuse import fuse
from regard.nn.gelan import RepC3, RepConv, RepNCSPELAN4
from regard.nn.light_blocks import RepVGGBlock


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


@pytest.mark.parametrize(
    ("block", "merged"),
    [
        (RepConv(6, 10), 1),
        (RepVGGDW(6), 1),
        (RepVGGBlock(6, 6), 1),
        (RepVGGBlock(6, 10, 3, 2), 1),
        (RepC3(6, 10, repeats=2), 2),
        (RepNCSPELAN4(6, 10, 8, 4, 2), 4),
        (C2fCIB(6, 8, True, True, repeats=2), 2),
    ],
    ids=lambda block: type(block).__name__ if isinstance(block, nn.Module) else None,
)
def test_summed_branches_become_one_convolution(block: nn.Module, merged: int) -> None:
    for tensor in block.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.2 if tensor.ndim == 1 else -0.5, 0.9)
    x = torch.randn(2, 6, 8, 10, dtype=torch.float64)
    expected = block.double().eval()(x)
    copy = fuse(block)
    torch.testing.assert_close(copy(x), expected)
    assert sum(name.endswith("merged") for name, _ in copy.named_modules()) == merged
    assert not any(isinstance(module, nn.BatchNorm2d) for module in copy.modules())
    torch.testing.assert_close(block(x), expected, rtol=0, atol=0)
    torch.testing.assert_close(fuse(copy)(x), copy(x), rtol=0, atol=0)


def test_the_branches_are_summed_in_their_order() -> None:
    block, x = RepVGGBlock(6, 6).eval(), torch.randn(2, 6, 8, 10)
    assert block.identity is not None
    assert torch.equal(block(x), (block.dense(x) + block.pointwise(x) + block.identity(x)).clamp(min=0))
