from __future__ import annotations

import copy

import pytest
import torch
from masked import SIZES, agrees, close, keys_of

from regard.errors import RegardError
from regard.nn.attention.big_bird import PERIOD, BigBirdAttention
from regard.nn.attention.self_attention import MultiHeadSelfAttention


@pytest.mark.parametrize("size", [*SIZES, (23, 19)])
@pytest.mark.parametrize(("block", "random", "chosen"), [(1, 3, 2), (3, 2, 1), (4, 0, 3), (8, 2, 2)])
def test_equals_plain_attention_under_its_mask(size: tuple[int, int], block: int, random: int, chosen: int) -> None:
    agrees(BigBirdAttention(8, 2, block, random, chosen), size)


def test_rotary_positions_know_the_map_and_not_the_block() -> None:
    agrees(BigBirdAttention(16, 2, 3, 1, 1, "rotary"), (10, 11))


@pytest.mark.parametrize("chosen", [20, 33])
def test_all_global_is_plain_attention(chosen: int) -> None:
    plain, ours = MultiHeadSelfAttention(8, 2).double(), BigBirdAttention(8, 2, 2, 0, chosen).double()
    ours.load_state_dict(plain.state_dict(), strict=False)
    for size in ((7, 9), (1, 1)):
        x = torch.randn(2, 8, *size, dtype=torch.float64)
        close(ours(x), plain(x))


def test_the_keys_by_hand() -> None:
    module, size = BigBirdAttention(4, block=2, random_blocks=1, global_blocks=2), (10, 9)  # 5 x 5 blocks
    module.plan.fill_(0)
    module.plan[4, 4] = 2**16 * 11 // 25 + 1  # u T / 2^16 = 11 and a bit: the block at row 2, column 1

    def of(*blocks: tuple[int, int]) -> set[tuple[int, int]]:
        return {(r, c) for y, x in blocks for r in (2 * y, 2 * y + 1) for c in (2 * x, 2 * x + 1) if c < 9}

    chosen = [(1, 1), (3, 3)]  # floor(25 / 4) = 6 and floor(75 / 4) = 18
    assert keys_of(module, (9, 8), size) == of((3, 3), (3, 4), (4, 3), (4, 4), (2, 1), *chosen)
    assert keys_of(module, (0, 5), size) == of(*((y, x) for y in (0, 1) for x in (1, 2, 3)), (0, 0), *chosen)
    assert len(keys_of(module, (6, 7), size)) == 90


def test_the_plan_is_saved_and_copied_and_survives_any_precision() -> None:
    module, x = BigBirdAttention(8, 2, 2), torch.randn(2, 8, 13, 18)
    y = module(x)
    assert torch.equal(copy.deepcopy(module)(x), y)
    other = BigBirdAttention(8, 2, 2)
    assert not torch.equal(other.plan, module.plan)
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(x), y)
    assert torch.equal(copy.deepcopy(module).half().float().plan, module.plan)
    torch.manual_seed(3)
    first = BigBirdAttention(8).plan
    torch.manual_seed(3)
    assert torch.equal(BigBirdAttention(8).plan, first)


@pytest.mark.parametrize("blocks", [(1, 1), (3, 7), (PERIOD, PERIOD), (40, 25)])
def test_random_blocks_lie_on_any_map_and_are_spread_over_it(blocks: tuple[int, int]) -> None:
    found = BigBirdAttention(8, random_blocks=3).random_of(*blocks)
    count = blocks[0] * blocks[1]
    assert found.shape == (count, 3)
    assert 0 <= int(found.min()) <= int(found.max()) < count
    if count >= PERIOD**2:
        assert float(found.double().mean() / count) == pytest.approx(0.5, abs=0.05)
        assert float(found.double().std() / count) == pytest.approx(12**-0.5, abs=0.05)


def test_rejected_options() -> None:
    with pytest.raises(RegardError, match="global_blocks 0 is too small"):
        BigBirdAttention(8, global_blocks=0)
    with pytest.raises(RegardError, match="block 0 is too small"):
        BigBirdAttention(8, block=0)
    with pytest.raises(RegardError, match="cannot use 'relative' positions"):
        BigBirdAttention(8, pos_embed="relative")
