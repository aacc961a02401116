"""What kinds of multi-head attention share, shown on a test class: each token sees itself and what is to its left."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from regard.errors import RegardError
from regard.nn.attention.core import Size, check_query, fused_attention
from regard.nn.attention.multi_head import MultiHead
from regard.nn.attention.position import POSITIONS


class Leftward(MultiHead):
    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:
        rows = torch.stack(
            [self.attention_mask((i // size[1], i % size[1]), size).flatten() for i in range(math.prod(size))]
        )
        return fused_attention(q, k, v, bias=self.position.on_scores(size), allowed=rows)

    def attention_mask(self, query: Size, size: Size) -> Tensor:
        seen = torch.zeros(size, dtype=torch.bool)
        seen[query[0], : query[1] + 1] = True
        return seen


@pytest.mark.parametrize("positions", POSITIONS)
def test_rows_of_the_map_are_what_forward_used(positions: str) -> None:
    layer, x = Leftward(16, 2, positions).double(), torch.randn(2, 16, 3, 5, dtype=torch.float64)
    v, y = layer.project(x)[2], layer(x)
    for row, column in ((0, 0), (1, 3), (2, 4)):
        found = layer.attention(x, (row, column))
        assert (found.kind, found.queries) == ("rows", ((row, column),))
        assert found.weights.shape == (2, 2, 1, 3, 5)
        assert torch.equal(found.weights[0, 0, 0] != 0, layer.attention_mask((row, column), (3, 5)))
        mixed = (found.weights.flatten(3) @ v)[:, :, 0].flatten(1)  # (B, heads * d)
        torch.testing.assert_close(y[:, :, row, column], layer.out(mixed), rtol=0, atol=1e-12)


def test_the_first_column_sees_itself_alone() -> None:
    layer, x = Leftward(6, 2).double(), torch.randn(2, 6, 3, 5, dtype=torch.float64)
    w, b = layer.qkv.weight[12:], layer.qkv.bias[12:]
    expected = layer.out(x[:, :, :, 0].mT @ w.T + b).mT
    torch.testing.assert_close(layer(x)[:, :, :, 0], expected, rtol=0, atol=1e-12)


def test_last_dimensions_are_contiguous_for_the_kernel() -> None:
    for positions in POSITIONS:
        for t in Leftward(16, 2, positions).project(torch.randn(2, 16, 3, 5)):
            assert t.stride(-1) == 1
            assert t.shape == (2, 2, 15, 8)


def test_queries() -> None:
    assert check_query(None, (5, 8)) == (2, 4)
    assert check_query((4, 0), (5, 8)) == (4, 0)
    for outside in ((5, 0), (0, 8), (-1, 0), (0, -1)):
        with pytest.raises(RegardError, match="lies outside the map") as caught:
            Leftward(4).attention(torch.zeros(1, 4, 5, 8), outside)
        assert caught.value.expected == "a row of 0..4 and a column of 0..7"


def test_what_cannot_be_built() -> None:
    with pytest.raises(RegardError, match="num_heads 4 does not divide 15 channels"):
        Leftward(15)
    with pytest.raises(RegardError, match="unknown pos_embed"):
        Leftward(16, pos_embed="sinusoid")
