from __future__ import annotations

import pytest
import torch
from torch import Tensor

from regard.nn.attention import grouping
from regard.nn.attention.grouping import Cut, attend_in_groups, ceil_div, gather, members, put_back, slots

CPU = torch.device("cpu")


def test_cuts_by_hand() -> None:
    blocks = Cut.blocks(5, 3, 2, CPU)
    assert blocks.at.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert (blocks.group.tolist(), blocks.member.tolist(), blocks.n) == ([0, 0, 0, 1, 1], [0, 1, 2, 0, 1], 5)
    steps = Cut.residues(5, 3, CPU)
    assert steps.at.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert (steps.group.tolist(), steps.member.tolist()) == ([0, 1, 2, 0, 1], [0, 0, 0, 1, 1])
    assert Cut.whole(3, CPU).at.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (5, 4), (6, 3)])
def test_every_token_is_in_one_group_and_comes_back(height: int, width: int) -> None:
    rows, columns = Cut.residues(height, 2, CPU), Cut.blocks(width, 3, ceil_div(width, 3), CPU)
    index, real = members(rows, columns)
    assert sorted(index[real].tolist()) == list(range(height * width))
    tokens = torch.randn(2, 3, height * width, 5)
    grouped = gather(tokens, index)
    assert torch.equal(grouped[1, 4], tokens[1, 1, index[1]])
    assert torch.equal(put_back(grouped, slots(rows, columns), tokens), tokens)


def test_no_query_is_left_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A softmax over nothing is 0 / 0: some versions of the kernel give NaN then, and its gradient spoils all."""
    seen: list[Tensor] = []
    fused = grouping.fused_attention

    def spy(*tensors: Tensor, allowed: Tensor) -> Tensor:
        seen.append(allowed)
        return fused(*tensors, allowed=allowed)

    monkeypatch.setattr(grouping, "fused_attention", spy)
    tokens = torch.randn(1, 1, 2, 4)
    attend_in_groups(tokens, tokens, tokens, Cut.residues(1, 3, CPU), Cut.residues(2, 3, CPU))
    assert seen[0].shape == (9, 1, 1, 1)
    assert seen[0].any(-1).all()


def test_rounding_up() -> None:
    assert [ceil_div(n, 4) for n in (0, 1, 4, 5, 8)] == [0, 1, 1, 2, 2]
