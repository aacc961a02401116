"""The map of YOLOv5's Transformer is that of the weights that its attention returns itself."""

from __future__ import annotations

import pytest
import torch

from regard.nn.capture import attention_modules
from regard.nn.transformer import C3TR, TransformerBlock


@pytest.mark.parametrize("layers", [1, 3])
def test_the_map_is_the_row_of_the_last_layers_weights(layers: int) -> None:
    block, x = TransformerBlock(24, num_heads=3, layers=layers).double(), torch.randn(2, 24, 5, 7, dtype=torch.float64)
    found = block.attention(x, (3, 2))
    tokens = x.flatten(2).permute(2, 0, 1)
    tokens = tokens + block.linear(tokens)
    *before, last = block.tr
    for layer in before:
        tokens = layer(tokens)
    _, weights = last.ma(last.q(tokens), last.k(tokens), last.v(tokens), average_attn_weights=False)
    torch.testing.assert_close(found.weights, weights[:, :, 3 * 7 + 2 : 3 * 7 + 3].unflatten(-1, (5, 7)))
    assert (found.kind, found.queries) == ("rows", ((3, 2),))
    assert block.attention(x).queries == ((2, 3),)


def test_it_is_found_inside_of_c3tr() -> None:
    assert list(attention_modules([("p5", C3TR(32, 32))])) == ["p5.m"]
