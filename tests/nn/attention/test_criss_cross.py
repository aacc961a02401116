from __future__ import annotations

import pytest
import torch
from masked import SIZES, agrees, close, keys_of

from regard.errors import RegardError
from regard.nn.attention.criss_cross import CrissCrossAttention
from regard.nn.attention.self_attention import MultiHeadSelfAttention


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("heads", [1, 3])
def test_equals_plain_attention_under_its_mask(size: tuple[int, int], heads: int) -> None:
    agrees(CrissCrossAttention(12, heads), size)


def test_rotary_positions_know_the_map() -> None:
    agrees(CrissCrossAttention(16, 2, "rotary"), (7, 5))


@pytest.mark.parametrize("size", [(1, 11), (11, 1)])
def test_on_a_single_line_is_plain_attention(size: tuple[int, int]) -> None:
    plain, ours = MultiHeadSelfAttention(8, 2).double(), CrissCrossAttention(8, 2).double()
    ours.load_state_dict(plain.state_dict())
    x = torch.randn(2, 8, *size, dtype=torch.float64)
    close(ours(x), plain(x))


def test_the_keys_by_hand() -> None:
    seen = keys_of(CrissCrossAttention(4), (1, 2), (3, 5))
    assert seen == {(0, 2), (2, 2), (1, 0), (1, 1), (1, 2), (1, 3), (1, 4)}


def test_equal_scores_weigh_each_key_once() -> None:
    module = CrissCrossAttention(4, 2)
    with torch.no_grad():
        module.qkv.weight[:4].zero_()
        module.qkv.bias[:4].zero_()
    weights = module.attention(torch.randn(1, 4, 3, 5), (1, 2)).weights[0, 0, 0]
    seen = module.attention_mask((1, 2), (3, 5))
    close(weights, seen / 7.0, 1e-6)


def test_two_passes_join_any_two_positions() -> None:
    module, size = CrissCrossAttention(4), (4, 7)
    rows = torch.stack([module.attention_mask((r, c), size).flatten() for r in range(4) for c in range(7)]).double()
    assert not (rows > 0).all()
    assert (rows @ rows > 0).all()


def test_rejected_options() -> None:
    with pytest.raises(RegardError, match="cannot use 'relative' positions"):
        CrissCrossAttention(8, pos_embed="relative")
