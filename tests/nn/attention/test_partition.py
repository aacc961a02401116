from __future__ import annotations

import pytest
import torch
from torch import Tensor

from regard.nn.attention import partition
from regard.nn.attention.core import ceil_div
from regard.nn.attention.partition import Axis, attend, gather, pairs, put_back, seen_by, slots

CPU = torch.device("cpu")


def test_axes_by_hand() -> None:
    blocks = Axis.blocks(5, 3, 2, CPU)
    assert blocks.queries.tolist() == blocks.keys.tolist() == [[0, 1, 2], [3, 4, 4]]
    assert blocks.seen.tolist() == [[[True] * 3], [[True, True, False]]]
    assert (blocks.group.tolist(), blocks.member.tolist()) == ([0, 0, 0, 1, 1], [0, 1, 2, 0, 1])
    steps = Axis.strided(5, 3, CPU)
    assert steps.keys.tolist() == [[0, 3], [1, 4], [2, 4]]
    assert steps.seen.tolist() == [[[True] * 2], [[True] * 2], [[True, False]]]
    assert (steps.group.tolist(), steps.member.tolist()) == ([0, 1, 2, 0, 1], [0, 0, 0, 1, 1])
    assert Axis.whole(3, CPU).keys.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (5, 4), (6, 3)])
def test_every_token_is_in_one_group_and_comes_back(height: int, width: int) -> None:
    rows, columns = Axis.strided(height, 2, CPU), Axis.blocks(width, 3, ceil_div(width, 3), CPU)
    index, real = pairs(rows.keys, columns.keys, width), seen_by(rows, columns)[:, 0, 0]
    assert set(index[real].tolist()) == set(range(height * width))
    tokens = torch.randn(2, 3, height * width, 5)
    grouped = gather(tokens, index)
    assert torch.equal(grouped[1, 4], tokens[1, 1, index[1]])
    assert torch.equal(put_back(grouped, slots(rows, columns), tokens), tokens)


def test_no_query_is_left_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A softmax over nothing is 0 / 0: some versions of the kernel give NaN then, and its gradient spoils all."""
    seen: list[Tensor] = []
    fused = partition.fused_attention

    def spy(*tensors: Tensor, bias: None, allowed: Tensor) -> Tensor:
        seen.append(allowed)
        return fused(*tensors, bias=bias, allowed=allowed)

    monkeypatch.setattr(partition, "fused_attention", spy)
    tokens = torch.randn(1, 1, 2, 4)
    attend(tokens, tokens, tokens, Axis.strided(1, 3, CPU), Axis.strided(2, 3, CPU))
    assert seen[0].shape == (9, 1, 1, 1)
    assert seen[0].any(-1).all()
