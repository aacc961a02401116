from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from regard.errors import RegardError
from regard.nn.attention.em_attention import EMAttention


def of_group(block: EMAttention, x: Tensor) -> Tensor:
    """Return the weights of one group of one image by the definition: (c, H, W) -> (H, W)."""
    channels, height, width = x.shape
    matrix, bias = block.conv1x1.weight[:, :, 0, 0], block.conv1x1.bias
    assert bias is not None
    rows = torch.stack([matrix @ x[:, i].mean(1) + bias for i in range(height)], 1).sigmoid()
    columns = torch.stack([matrix @ x[:, :, j].mean(1) + bias for j in range(width)], 1).sigmoid()
    gated = x * rows[:, :, None] * columns[:, None]
    normed = []
    for c in range(channels):
        apart = gated[c] - gated[c].mean()
        normed.append(apart / (apart.square().mean() + 1e-5).sqrt() * block.norm.weight[c] + block.norm.bias[c])
    u = torch.stack(normed)
    v = F.conv2d(x[None], block.conv3x3.weight, block.conv3x3.bias, padding=1)[0]
    of_u, of_v = (t.mean((1, 2)).softmax(0) for t in (u, v))
    return sum(of_u[c] * v[c] + of_v[c] * u[c] for c in range(channels)).sigmoid()  # type: ignore[union-attr]


@pytest.mark.parametrize(("channels", "groups"), [(12, 4), (5, 1), (3, 3)])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3)])
def test_equals_the_definition(channels: int, groups: int, size: tuple[int, int]) -> None:
    block, x = EMAttention(channels, groups).double(), torch.randn(2, channels, *size, dtype=torch.float64)
    torch.nn.init.normal_(block.norm.weight)
    torch.nn.init.normal_(block.norm.bias)
    y, found = block(x), block.attention(x)
    assert found.kind == "elements"
    part = channels // groups
    for image in range(2):
        for group in range(groups):
            own = slice(group * part, (group + 1) * part)
            weights = of_group(block, x[image, own])
            torch.testing.assert_close(y[image, own], weights * x[image, own], rtol=0, atol=1e-12)
            torch.testing.assert_close(found.weights[image, own], weights.expand(part, -1, -1), rtol=0, atol=1e-12)


def test_the_definition_in_float32() -> None:
    block, x = EMAttention(16, 2), torch.randn(1, 16, 9, 8)
    expected = torch.cat([of_group(block, part) * part for part in x[0].chunk(2)])
    torch.testing.assert_close(block(x)[0], expected, rtol=0, atol=1e-5)


def test_groups_share_their_layers() -> None:
    block, x = EMAttention(12, 3), torch.randn(2, 12, 3, 5)
    torch.testing.assert_close(block(x.roll(4, 1)), block(x).roll(4, 1))


def test_a_single_position_and_image_can_be_trained_on() -> None:
    assert EMAttention(4, 1).train()(torch.randn(1, 4, 1, 1)).isfinite().all()


def test_groups() -> None:
    with pytest.raises(RegardError, match=r"groups 8 does not divide 15 channels[\s\S]*nearest is 5"):
        EMAttention(15)
