from __future__ import annotations

import pytest
import torch
from masked import SIZES, agrees

from regard.errors import RegardError
from regard.nn.attention.strided import StridedAttention


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("heads", "stride"), [(2, 3), (3, 4), (4, 8)])
def test_equals_plain_attention_under_its_mask(size: tuple[int, int], heads: int, stride: int) -> None:
    agrees(StridedAttention(12, heads, stride), size)


def test_rotary_positions_know_the_map_and_not_the_group() -> None:
    agrees(StridedAttention(16, 2, 3, "rotary"), (7, 5))


def test_the_keys_by_hand() -> None:
    near, far = StridedAttention(6, 2, 3).attention_mask((4, 1), (7, 5))
    assert near.int().tolist() == [[0] * 5] * 3 + [[1, 1, 1, 0, 0]] * 3 + [[0] * 5]
    assert {tuple(at) for at in far.nonzero().tolist()} == {(1, 1), (1, 4), (4, 1), (4, 4)}


def test_two_layers_join_any_two_positions() -> None:
    module, size = StridedAttention(4, 2, 3), (7, 8)
    rows = (
        torch.stack([module.attention_mask((r, c), size) for r in range(7) for c in range(8)])
        .transpose(0, 1)
        .flatten(2)
    )
    near, far = rows.double()
    whole_tiles = (torch.arange(7)[:, None] < 6) & (torch.arange(8) < 6)
    hops = (near @ far)[whole_tiles.flatten()]
    assert (hops > 0).all()  # a full tile contains one position of every residue class


def test_of_an_odd_number_of_heads_one_more_looks_nearby() -> None:
    assert StridedAttention(15, 5).near_heads == 3
    reach = StridedAttention(15, 5, 2).attention_mask((0, 0), (4, 4))
    assert reach[:, 1, 1].tolist() == [True, True, True, False, False]
    assert reach[:, 2, 2].tolist() == [False, False, False, True, True]


def test_rejected_options() -> None:
    with pytest.raises(RegardError, match="one head cannot look"):
        StridedAttention(6, 1)
    with pytest.raises(RegardError, match="stride 0 is too small"):
        StridedAttention(6, 2, 0)
    with pytest.raises(RegardError, match="cannot use 'relative' positions"):
        StridedAttention(8, 2, pos_embed="relative")
