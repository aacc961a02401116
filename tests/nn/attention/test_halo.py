from __future__ import annotations

import pytest
import torch
from masked import SIZES, agrees, close, keys_of
from near import by_loops, global_under_mask

from regard.errors import RegardError
from regard.nn.attention.halo import HaloAttention
from regard.nn.attention.self_attention import MultiHeadSelfAttention
from regard.nn.attention.sliding import LocalAttention
from regard.nn.attention.window import WindowAttention


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("block", "halo"), [(1, 2), (4, 0), (4, 1), (3, 5), (8, 3)])
def test_equals_plain_attention_under_its_mask(size: tuple[int, int], block: int, halo: int) -> None:
    agrees(HaloAttention(8, 2, block, halo), size)


@pytest.mark.parametrize("positions", ["relative", "log_cpb", "rotary"])
def test_positions_know_the_map_and_not_the_tile(positions: str) -> None:
    module, x = HaloAttention(8, 2, 4, 1, positions).double(), torch.randn(2, 8, 11, 6, dtype=torch.float64)
    close(module(x), global_under_mask(module, x))


def test_by_loops() -> None:
    module, x = HaloAttention(8, 2, 3, 2, "relative").double(), torch.randn(1, 8, 5, 7, dtype=torch.float64)
    table = module.position.get_parameter("table")

    def seen(i: int, n: int) -> range:
        return range(max(0, i - i % 3 - 2), min(n, i - i % 3 + 5))

    close(module(x), by_loops(module, x, seen, lambda head, y, x: table[head, y + 4, x + 4]))


@pytest.mark.filterwarnings("ignore")
def test_equals_timm_on_a_block_whose_halo_is_full() -> None:
    timm = pytest.importorskip("timm.layers.halo_attn")
    theirs = timm.HaloAttn(8, num_heads=2, block_size=4, halo_size=3).double().eval()
    ours = HaloAttention(8, 2, 4, 3).double()
    with torch.no_grad():
        for parameter in theirs.pos_embed.parameters():
            parameter.zero_()
        keys, values = theirs.kv.weight.view(2, 8, 8).chunk(2, 1)  # by head: keys, then values
        weights = (theirs.q.weight.view(8, 8), keys.reshape(8, 8), values.reshape(8, 8))
        ours.qkv.weight.copy_(torch.cat(weights))
        ours.out.weight.copy_(torch.eye(8))
        for layer in (ours.qkv, ours.out):
            layer.bias.zero_()
    x = torch.randn(2, 8, 12, 12, dtype=torch.float64)
    inner = (..., slice(4, 8), slice(4, 8))
    close(ours(x)[inner], theirs(x)[inner])
    assert (ours(x) - theirs(x)).abs().max() > 1e-3  # zeros are keys to timm


def test_without_halo_is_window_attention_and_of_single_queries_local_attention() -> None:
    x = torch.randn(2, 8, 9, 13, dtype=torch.float64)
    for other, ours in (
        (WindowAttention(8, 2, 4), HaloAttention(8, 2, 4, 0)),
        (LocalAttention(8, 2, 5), HaloAttention(8, 2, 1, 2)),
        (MultiHeadSelfAttention(8, 2), HaloAttention(8, 2, 4, 12)),  # every halo covers the map
    ):
        ours.load_state_dict(other.state_dict())
        close(ours.double()(x), other.double()(x))


def test_the_keys_by_hand() -> None:
    module = HaloAttention(4, block=3, halo=1)
    assert keys_of(module, (0, 4), (5, 8)) == {(r, c) for r in range(4) for c in range(2, 7)}
    assert keys_of(module, (4, 7), (5, 8)) == {(r, c) for r in (2, 3, 4) for c in (5, 6, 7)}


def test_rejected_options() -> None:
    with pytest.raises(RegardError, match="block 0 is too small"):
        HaloAttention(8, block=0)
    with pytest.raises(RegardError, match="halo -1 is too small"):
        HaloAttention(8, halo=-1)
