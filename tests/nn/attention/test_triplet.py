from __future__ import annotations

import pytest
import torch
from torch import Tensor

from regard.errors import RegardError
from regard.nn.attention.triplet import TripletAttention


def fitted(channels: int, kernel_size: int = 7) -> TripletAttention:
    """Return a module whose batch norms are not the identity."""
    block = TripletAttention(channels, kernel_size).double()
    for part in block.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            for values in (part.weight.data, part.bias.data, part.running_mean):
                assert values is not None
                values.normal_()
    return block


def by_turning(block: TripletAttention, x: Tensor) -> Tensor:
    """Return the output as the paper has it: the map turned, pooled over its first axis, gated and turned back."""

    def gated(turned: Tensor, gate: torch.nn.Module) -> Tensor:
        pooled = torch.cat((turned.max(1, keepdim=True).values, turned.mean(1, keepdim=True)), 1)
        scaled: Tensor = turned * gate(pooled)
        return scaled

    by_row = gated(x.permute(0, 2, 1, 3), block.channel_by_column).permute(0, 2, 1, 3)  # (B, H, C, W)
    by_column = gated(x.permute(0, 3, 2, 1), block.row_by_channel).permute(0, 3, 2, 1)  # (B, W, H, C)
    return (by_row + by_column + gated(x, block.row_by_column)) / 3


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3)])
def test_equals_the_definition(size: tuple[int, int], training: bool) -> None:
    block, x = fitted(11, 3).train(training), torch.randn(2, 11, *size, dtype=torch.float64)
    torch.testing.assert_close(block(x), by_turning(block, x), rtol=0, atol=1e-12)


def test_the_definition_in_float32() -> None:
    block, x = TripletAttention(11).eval(), torch.randn(2, 11, 9, 8)
    torch.testing.assert_close(block(x), by_turning(block, x), rtol=0, atol=1e-5)


def test_a_map_by_hand() -> None:
    """Convolutions of one tap that pass the mean alone: sigmoids of the means over each axis, averaged."""
    block = TripletAttention(2, 1).double().eval()
    for part in block.modules():
        if isinstance(part, torch.nn.Conv2d):
            part.weight.data = torch.tensor([0.0, (1 + 1e-5) ** 0.5], dtype=torch.float64).view(1, 2, 1, 1)
    x = torch.tensor([[[[1.0, 3]], [[5.0, -1]]]], dtype=torch.float64)
    over_channels = torch.tensor([3.0, 1]).double().sigmoid()  # by column
    over_columns = torch.tensor([2.0, 2]).double().sigmoid()  # by channel
    expected = (x[0, :, 0].sigmoid() + over_columns[:, None] + over_channels) / 3  # one row: its mean is itself
    torch.testing.assert_close(block.attention(x).weights[0, :, 0], expected, rtol=0, atol=1e-12)


def test_one_place_of_one_image_in_training_uses_what_was_learned_of_others() -> None:
    block, x = fitted(11, 3).train(), torch.randn(1, 11, 1, 1, dtype=torch.float64, requires_grad=True)
    before = {key: value.clone() for key, value in block.row_by_column.state_dict().items()}
    y = block(x)
    assert all(torch.equal(value, before[key]) for key, value in block.row_by_column.state_dict().items())
    block.row_by_column.eval()
    torch.testing.assert_close(y, by_turning(block, x), rtol=0, atol=1e-12)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert gradient.isfinite().all()


def test_options() -> None:
    with pytest.raises(RegardError, match=r"kernel_size 4[\s\S]*nearest is 5"):
        TripletAttention(8, 4)
