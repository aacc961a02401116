"""Heads of different kinds: each is its kind alone, with its part of the common projection."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from catalogue import build, some
from masked import agrees, close

from regard.errors import RegardError
from regard.nn.attention import ATTENTION
from regard.nn.attention.mixed_heads import KINDS, MixedHeads
from regard.nn.attention.multi_head import MultiHead
from regard.nn.counter import count_on_map

SEEN = [{"LocalAttention": {"window": 3}}, {"StridedAttention": {"stride": 2}}, "CrissCrossAttention"]


def alike(mixed: MixedHeads, alone: MultiHead, first: int = 0) -> None:
    """Give ``alone`` what the heads from ``first`` on have, other than the projections."""
    kind = mixed.kinds[first]
    state = kind.state_dict()
    missing = alone.load_state_dict(state, strict=False)
    assert not missing.unexpected_keys
    assert {key.partition(".")[0] for key in missing.missing_keys} <= {"qkv", "out"}


@pytest.mark.parametrize("name", KINDS)
def test_equals_its_kind_where_all_heads_are_of_it(name: str) -> None:
    assert ATTENTION[name] is KINDS[name]
    mixed, x = build("MixedHeads", heads=[name] * 4), some(size=(9, 11))
    alone = build(name)
    alone.load_state_dict({key.removeprefix("kinds.0."): value for key, value in mixed.state_dict().items()})
    close(mixed(x), alone(x))
    close(mixed.attention(x, (2, 3)).weights, alone.attention(x, (2, 3)).weights)
    assert count_on_map(mixed, 16, 9, 11) == count_on_map(alone, 16, 9, 11)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("LocalAttention", {"window": 3, "pos_embed": "relative"}),
        ("WindowAttention", {"window": 3, "pos_embed": "log_cpb"}),
        ("StridedAttention", {"stride": 3, "pos_embed": "rotary"}),
        ("MultiHeadSelfAttention", {"score_activation": "relu", "pos_embed": "relative"}),
        ("AreaAttention", {"kernel": 3, "direction": "vertical"}),
    ],
)
def test_so_with_options(name: str, options: dict[str, Any]) -> None:
    mixed, x = build("MixedHeads", heads=[{name: options}] * 2), some(size=(9, 11))
    alone = build(name, num_heads=2, **options)
    alone.load_state_dict({key.removeprefix("kinds.0."): value for key, value in mixed.state_dict().items()})
    close(mixed(x), alone(x))
    close(mixed.attention(x).weights, alone.attention(x).weights)


def test_each_head_is_its_kind_alone() -> None:
    """A kind with one head and the head's rows of the projection, whose output matrix is the identity."""
    names = ["LocalAttention", "SinkhornAttention", "MultiHeadSelfAttention", "NystromAttention"]
    mixed, x = build("MixedHeads", heads=names, pos_embed="sinusoidal"), some(size=(9, 11))
    with torch.no_grad():
        mixed.out.weight.copy_(torch.eye(16))
        mixed.out.bias.zero_()
    found, rows = mixed(x), mixed.attention(x, (3, 4)).weights
    placed = mixed.position.on_map(x)
    for i, name in enumerate(names):
        here = slice(4 * i, 4 * i + 4)
        alone = KINDS[name](4, num_heads=1).double().eval()
        alike(mixed, alone, i)
        alone.qkv, alone.out = torch.nn.Linear(16, 12).double(), torch.nn.Identity()
        with torch.no_grad():
            for own, whole in zip(alone.qkv.parameters(), mixed.qkv.parameters(), strict=True):
                own.copy_(torch.cat([part[here] for part in whole.chunk(3)]))
        close(found[:, here], alone(placed))
        close(rows[:, i], alone.attention(placed, (3, 4)).weights[:, 0])


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (9, 11)])
def test_equals_plain_attention_under_the_masks_of_its_heads(size: tuple[int, int]) -> None:
    agrees(MixedHeads(12, SEEN), size)


def test_the_cost_is_the_sum() -> None:
    """Each kind with one head of the channels of one: its mixing is that head's share."""
    mixed = MixedHeads(12, SEEN)
    heads: list[MultiHead] = [
        KINDS["LocalAttention"](4, 1, 3),
        KINDS["StridedAttention"](4, 1, 2, "none", 0),
        KINDS["CrissCrossAttention"](4, 1),
    ]
    shares = sum(count_on_map(head, 4, 9, 11).mixing_flops for head in heads)
    cost = count_on_map(mixed, 12, 9, 11)
    assert cost.mixing_flops == shares
    assert cost.flops == 8 * 99 * 12**2 + shares


def test_neighbouring_heads_run_together() -> None:
    mixed = MixedHeads(40, ["LocalAttention", "LocalAttention", {"LocalAttention": {"window": 5}}, *SEEN[1:]])
    assert mixed.counts == [2, 1, 1, 1]
    assert [kind.num_heads for kind in mixed.kinds] == mixed.counts


def test_one_strided_head_looks_far_away_and_two_do_both() -> None:
    one, two = (MixedHeads(8 * (n + 1), ["LocalAttention", *["StridedAttention"] * n]) for n in (1, 2))
    assert one.kinds[1].near_heads == 0
    assert two.kinds[1].near_heads == 1
    near = MixedHeads(8, ["LocalAttention", {"StridedAttention": {"near_heads": 1}}])
    assert near.attention_mask((0, 0), (16, 16))[1, 7, 7]


def test_a_copy_is_independent_and_clusters_follow() -> None:
    mixed = MixedHeads(8, ["RoutingAttention", "LocalAttention"]).train()
    other, before = copy.deepcopy(mixed), mixed.kinds[0].centroids.clone()
    mixed(torch.randn(1, 8, 5, 7))
    assert not torch.equal(mixed.kinds[0].centroids, before)
    assert torch.equal(other.kinds[0].centroids, before)


@pytest.mark.parametrize(
    ("heads", "match"),
    [
        ([], "heads is"),
        ("LocalAttention", "heads is 'LocalAttention'"),
        (["LocalAttention", "SE"], "'SE' cannot be a head"),
        (["PooledAttention"], "'PooledAttention' cannot be a head"),
        ([{"LocalAttention": {"num_heads": 2}}], "has no option 'num_heads'"),
        ([{"LocalAttention": {"windw": 2}}], "has no option 'windw'"),
        ([{"LocalAttention": {"window": 4}}], "window 4 is not odd"),
        ([{"LocalAttention": {}, "StridedAttention": {}}], "a head is"),
        ([{"LocalAttention": 7}], "a head is"),
        ([{"LocalAttention": {"pos_embed": "learned"}}], "cannot use 'learned' positions"),
        (["LocalAttention"] * 3, "number of heads 3 does not divide 16"),
    ],
)
def test_rejected_heads(heads: Any, match: str) -> None:
    with pytest.raises(RegardError, match=match):
        MixedHeads(16, heads)
    with pytest.raises(RegardError, match="cannot use 'rotary' positions"):
        MixedHeads(16, pos_embed="rotary")


def test_every_kind_that_can_be_a_head_is_one() -> None:
    able = {n for n, kind in ATTENTION.items() if issubclass(kind, MultiHead) and kind.project is MultiHead.project}
    assert able - {"MixedHeads"} == {*KINDS}
