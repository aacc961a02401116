from __future__ import annotations

import pytest
import torch
from masked import SIZES, agrees, close, keys_of

from regard.errors import RegardError
from regard.nn.attention.global_tokens import GlobalTokensAttention
from regard.nn.attention.self_attention import MultiHeadSelfAttention


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("window", "grid"), [(1, 2), (3, 1), (5, 3), (7, 4)])
def test_equals_plain_attention_under_its_mask(size: tuple[int, int], window: int, grid: int) -> None:
    agrees(GlobalTokensAttention(12, 3, window, grid), size)


def test_rotary_positions_know_the_map_and_not_the_tile() -> None:
    agrees(GlobalTokensAttention(16, 2, 3, 2, "rotary"), (7, 5))


@pytest.mark.parametrize("grid", [7, 11])
@pytest.mark.parametrize("window", [1, 3])
def test_all_global_is_plain_attention(grid: int, window: int) -> None:
    plain, ours = MultiHeadSelfAttention(12).double(), GlobalTokensAttention(12, 4, window, grid).double()
    ours.load_state_dict(plain.state_dict())
    for size in ((7, 5), (2, 7), (1, 1)):
        x = torch.randn(2, 12, *size, dtype=torch.float64)
        close(ours(x), plain(x))


def test_a_window_over_the_whole_map_is_plain_attention() -> None:
    plain, ours = MultiHeadSelfAttention(12).double(), GlobalTokensAttention(12, 4, 11, 2).double()
    ours.load_state_dict(plain.state_dict())
    x = torch.randn(2, 12, 6, 5, dtype=torch.float64)
    close(ours(x), plain(x))  # each key once, though global ones lie in every window


def test_the_keys_by_hand() -> None:
    module, size = GlobalTokensAttention(4, window=3, grid=2), (8, 5)
    fixed = {(r, c) for r in (2, 6) for c in (1, 3)}  # rows 8 / 4 and 24 / 4, columns 5 / 4 and 15 / 4, rounded down
    assert keys_of(module, (0, 4), size) == {(0, 3), (0, 4), (1, 3), (1, 4)} | fixed
    assert keys_of(module, (5, 2), size) == {(r, c) for r in (4, 5, 6) for c in (1, 2, 3)} | fixed
    assert len(keys_of(module, (6, 3), size)) == 40
    assert all((r, c) in keys_of(module, (r, c), size) for r in range(8) for c in range(5))


def test_rejected_options() -> None:
    with pytest.raises(RegardError, match="the nearest is 7"):
        GlobalTokensAttention(8, window=6)
    with pytest.raises(RegardError, match="grid 0 is too small"):
        GlobalTokensAttention(8, grid=0)
