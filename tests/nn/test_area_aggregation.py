"""AreaAggregation: what is joined and added, by hand, and its share of the cost."""

from __future__ import annotations

import pytest
import torch

import regard
from regard.errors import RegardError
from regard.nn.attentive_blocks import AreaAggregation
from regard.nn.capture import attention_modules


def test_every_map_is_joined_and_the_input_added() -> None:
    layer, x = AreaAggregation(16, num_heads=2, repeats=2).eval(), torch.randn(2, 16, 9, 7)
    first = layer.cv1(x)
    maps = [first]
    for block in layer.m:
        z = maps[-1] + block.attend(maps[-1] / (1 + 1e-3) ** 0.5)
        maps.append(z + block.ffn(z))
    assert [y.shape[1] for y in maps] == [8, 8, 8]
    torch.testing.assert_close(layer(x), x + 0.01 * layer.cv2(torch.cat(maps, 1)))
    assert list(attention_modules([("p4", layer)])) == ["p4.m.0.attend", "p4.m.1.attend"]


def test_nothing_is_added_where_channels_change() -> None:
    layer, x = AreaAggregation(16, 24, 2).eval(), torch.randn(1, 16, 5, 7)
    y = layer.cv1(x)
    torch.testing.assert_close(layer(x), layer.cv2(torch.cat((y, layer.m[0](y)), 1)))
    assert layer.scale is None


def test_it_is_inserted_by_name() -> None:
    base = regard.load("odd-one-out")
    edited = regard.insert(base, "AreaAggregation", after="p4", options={"areas": 2})
    images = torch.rand(1, 3, 64, 64)
    assert all(map(torch.equal, edited(images), base(images)))  # the gate is closed
    assert edited.layer("p4.areaaggregation").module.m[0].attend.areas == 2


def test_rejected_options() -> None:
    with pytest.raises(RegardError, match="mlp_ratio 0 is not positive"):
        AreaAggregation(16, mlp_ratio=0)
    with pytest.raises(RegardError, match="num_heads 4 does not divide 5 channels"):
        AreaAggregation(10)
