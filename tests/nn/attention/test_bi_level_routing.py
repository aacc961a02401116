"""Bi-level routing attention by its definition, region by region."""

from __future__ import annotations

import pytest
import torch
from catalogue import build, some
from masked import close
from torch import Tensor

from regard.errors import RegardError
from regard.nn.attention.bi_level_routing import BiLevelRoutingAttention
from regard.nn.attention.core import merge_heads, to_map, to_tokens
from regard.nn.attention.self_attention import MultiHeadSelfAttention

OPTIONS = {"num_heads": 2, "regions": 3, "topk": 2, "kernel": 3}


def allowed_pairs(module: BiLevelRoutingAttention, x: Tensor) -> Tensor:
    """Which positions each sees in each image, (B, N, N), from means over regions by loops."""
    height, width = x.shape[2:]
    s = module.regions
    tall, wide = -(-height // s), -(-width // s)
    region = torch.tensor([(r // tall) * s + c // wide for r in range(height) for c in range(width)])
    q, k, _ = (merge_heads(t) for t in module.project(x))
    present = region.unique().tolist()
    allowed = torch.zeros(x.shape[0], height * width, height * width, dtype=torch.bool)
    for b in range(x.shape[0]):
        for i in present:
            scores = {j: float((q[b, region == i].mean(0) @ k[b, region == j].mean(0)).detach()) for j in present}
            for j in sorted(present, key=lambda j: -scores[j])[: module.topk]:
                allowed[b] |= (region == i)[:, None] & (region == j)
    return allowed


@pytest.mark.parametrize("size", [(9, 6), (7, 5), (2, 11), (1, 1)])
def test_by_definition(size: tuple[int, int]) -> None:
    module, x = build("BiLevelRoutingAttention", **OPTIONS), some(size=size)
    assert isinstance(module, BiLevelRoutingAttention)
    allowed = allowed_pairs(module, x)
    q, k, v = module.project(x)
    weights = (q @ k.mT / 8**0.5).masked_fill(~allowed[:, None], -torch.inf).softmax(-1)
    assert module.skip is not None
    around = to_tokens(module.skip(to_map(merge_heads(v), size)))
    close(module(x), to_map(module.out(merge_heads(weights @ v) + around), size))
    at = (size[0] // 2, size[1] // 3)
    row = module.attention(x, at).weights.flatten(3)[:, :, 0]
    close(row, weights[:, :, at[0] * size[1] + at[1]])


def test_of_all_regions_it_is_plain_attention() -> None:
    module, plain, x = build("BiLevelRoutingAttention", regions=3, topk=9, kernel=0), MultiHeadSelfAttention(16), some()
    plain.double().load_state_dict(module.state_dict())
    close(module(x), plain(x))


def test_the_gradient_ends_at_what_is_not_picked() -> None:
    module, x = build("BiLevelRoutingAttention", **OPTIONS), some(size=(9, 6), batch=1)
    q, k, v = (t.detach().requires_grad_() for t in module.project(x))
    seen = allowed_pairs(module, x)[0].any(0)
    assert not seen.all(), "every region is picked by some region: choose another seed"
    module.mix(q, k, v, (9, 6)).square().sum().backward()
    for grad in (k.grad, v.grad):
        assert grad is not None
        assert not grad[:, :, ~seen].any()
        assert grad[:, :, seen].flatten(3).any(-1).all()


def test_rejected_options() -> None:
    with pytest.raises(RegardError, match="topk 10 of 3 x 3"):
        BiLevelRoutingAttention(8, regions=3, topk=10)
    with pytest.raises(RegardError, match="regions 0"):
        BiLevelRoutingAttention(8, regions=0)
    with pytest.raises(RegardError, match="cannot use 'relative'"):
        BiLevelRoutingAttention(8, pos_embed="relative")
