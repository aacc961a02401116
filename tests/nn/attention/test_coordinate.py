from __future__ import annotations

import pytest
import torch
from timm.layers.coord_attn import CoordAttn

from regard.errors import RegardError
from regard.nn.attention.coordinate import CoordinateAttention


@pytest.mark.parametrize("training", [False, True])
def test_equals_timm(training: bool) -> None:
    peer = CoordAttn(48, rd_channels=8, bias=True).double()
    peer.bn1.running_mean.normal_()
    peer.bn1.running_var.uniform_(0.5, 2)
    block = CoordinateAttention(48).double()
    block.load_state_dict(peer.state_dict())  # the authors' names are kept
    x = torch.randn(2, 48, 7, 11, dtype=torch.float64)
    assert torch.allclose(block.train(training)(x), peer.train(training)(x), rtol=0, atol=1e-12)


def test_every_weight_is_of_its_row_times_of_its_column() -> None:
    block, x = CoordinateAttention(5).eval(), torch.randn(2, 5, 7, 3)
    found = block.attention(x)
    assert found.kind == "elements"
    assert torch.allclose(block(x), x * found.weights, atol=1e-6)
    ranks = torch.linalg.matrix_rank(found.weights.double(), rtol=1e-5)
    assert (ranks == 1).all()


def test_rows_and_columns_are_distinguished() -> None:
    block, x = CoordinateAttention(5).eval().double(), torch.randn(2, 5, 7, 3, dtype=torch.float64)
    turned = block(x.transpose(2, 3)).transpose(2, 3)
    assert not torch.allclose(turned, block(x), atol=1e-3)
    block.conv_h, block.conv_w = block.conv_w, block.conv_h
    assert torch.allclose(turned, block(x), rtol=0, atol=1e-12)


def test_hidden_channels() -> None:
    assert CoordinateAttention(512).hidden == 16
    assert CoordinateAttention(3).hidden == 8
    with pytest.raises(RegardError, match="reduction 0 is too small"):
        CoordinateAttention(16, 0)
