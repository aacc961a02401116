"""Shuffle attention by its definition, channel by channel."""

from __future__ import annotations

import pytest
import torch
from catalogue import build, some
from masked import close

from regard.errors import RegardError
from regard.nn.attention.shuffle import ShuffleAttention


@pytest.mark.parametrize(("channels", "groups"), [(12, 3), (16, 2), (10, 1)])
def test_by_definition(channels: int, groups: int) -> None:
    module, x = build("ShuffleAttention", channels, groups=groups), some(channels)
    assert isinstance(module, ShuffleAttention)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.uniform_(-1, 1)
    half = channels // groups // 2
    weights = torch.zeros_like(x)
    for channel in range(channels):
        i, is_second = channel % half, channel // half % 2 == 1
        values = x[:, channel]
        if is_second:
            centred = values - values.mean((1, 2), keepdim=True)
            normed = centred / (centred.square().mean((1, 2), keepdim=True) + 1e-5).sqrt()
            normed = module.norm.weight[i] * normed + module.norm.bias[i]
            weights[:, channel] = (module.spatial_weight[i] * normed + module.spatial_bias[i]).sigmoid()
        else:
            mean = values.mean((1, 2), keepdim=True)
            weights[:, channel] = (module.channel_weight[i] * mean + module.channel_bias[i]).sigmoid()
    close(module.attention(x).weights, weights)
    y, weighed = module(x), x * weights
    for channel in range(channels):
        close(y[:, channel], weighed[:, channel // 2 + channel % 2 * (channels // 2)])


def test_it_starts_with_the_same_weight_everywhere() -> None:
    weights = ShuffleAttention(16)(torch.ones(1, 16, 3, 5))
    close(weights, torch.ones_like(weights).sigmoid(), 1e-6)


def test_options() -> None:
    assert [ShuffleAttention(c).groups for c in (2, 6, 12, 64, 128)] == [1, 1, 2, 8, 8]
    with pytest.raises(RegardError, match="groups 3 does not divide 16"):
        ShuffleAttention(16, 3)
    with pytest.raises(RegardError, match="15 channels"):
        ShuffleAttention(15)
