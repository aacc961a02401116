"""Attention to the largest scores of each query: by definition, query by query, and what its gradient sees."""

from __future__ import annotations

import pytest
import torch
from catalogue import build, some
from masked import close
from torch import Tensor

from regard.errors import RegardError
from regard.nn.attention.core import merge_heads, to_map
from regard.nn.attention.multi_head import MultiHead
from regard.nn.attention.self_attention import MultiHeadSelfAttention
from regard.nn.attention.top_k import ApproximateTopKAttention, TopKAttention, approximate_top_k, top_k

K, BINS = 5, 7


def chosen(scores: list[float], bins: int | None) -> set[int]:
    """Indices of the keys that one query takes."""
    places = sorted(range(len(scores)), key=lambda j: -scores[j])
    if bins is not None:
        places = [j for j in places if all(scores[j] >= scores[i] for i in range(j % bins, len(scores), bins))]
    return set(places[:K])


@pytest.mark.parametrize("size", [(5, 7), (3, 11), (1, 2), (1, 1)])
@pytest.mark.parametrize("name", ["TopKAttention", "ApproximateTopKAttention"])
def test_by_definition(name: str, size: tuple[int, int]) -> None:
    options = {"topk": K} if name == "TopKAttention" else {"topk": K, "bins": BINS}
    module, x = build(name, num_heads=2, pos_embed="relative", **options), some(size=size, batch=2)
    assert isinstance(module, TopKAttention)
    q, k, v = module.project(x)
    bias = module.position.on_scores(size)
    assert bias is not None
    scores = q @ k.mT / 8**0.5 + bias
    weights = torch.zeros_like(scores)
    for b, h, i in torch.cartesian_prod(*map(torch.arange, scores.shape[:3])).tolist():
        at = sorted(chosen(scores[b, h, i].tolist(), options.get("bins")))
        weights[b, h, i, at] = scores[b, h, i, at].softmax(0)
    close(module(x), to_map(module.out(merge_heads(weights @ v)), size))
    row = module.attention(x, (size[0] - 1, 0)).weights.flatten(3)[:, :, 0]
    close(row, weights[:, :, (size[0] - 1) * size[1]])
    assert ((row > 0).sum(-1) == min(K, size[0] * size[1])).all()
    close(row.sum(-1), torch.ones_like(row[..., 0]))


def plain(module: MultiHead) -> MultiHeadSelfAttention:
    found = MultiHeadSelfAttention(16).double().eval()
    found.load_state_dict(module.state_dict())
    return found


def test_of_all_keys_it_is_plain_attention() -> None:
    x = some()
    for name, options in (("TopKAttention", {"topk": 35}), ("ApproximateTopKAttention", {"topk": 35, "bins": 35})):
        module = build(name, **options)
        close(module(x), plain(module)(x))


def test_with_a_bin_for_each_key_nothing_is_missed() -> None:
    module, exact = build("ApproximateTopKAttention", topk=K, bins=35), TopKAttention(16, topk=K).double()
    exact.load_state_dict(module.state_dict())
    x = some()
    close(module(x), exact(x))


def test_the_part_that_is_found() -> None:
    """L / k (1 - (1 - 1 / L)^k) for scores in any order."""
    bins, topk = 16, 8
    scores = torch.rand(1000, 1600)
    largest = scores.topk(topk).indices
    found = approximate_top_k(scores, topk=topk, bins=bins).gather(-1, largest) > 0
    assert found.double().mean().item() == pytest.approx(bins / topk * (1 - (1 - 1 / bins) ** topk), abs=0.01)


@pytest.mark.parametrize("bins", [None, BINS])
def test_scores_that_are_not_taken_have_no_gradient(bins: int | None) -> None:
    scores = torch.randn(3, 20, dtype=torch.float64, requires_grad=True)
    weights = top_k(scores, topk=K) if bins is None else approximate_top_k(scores, topk=K, bins=bins)
    values = torch.randn(20, dtype=torch.float64)
    (grad,) = torch.autograd.grad((weights @ values).sum(), scores)
    taken = torch.zeros_like(scores, dtype=torch.bool)
    for i in range(3):
        taken[i, sorted(chosen(scores[i].tolist(), bins))] = True
    assert (grad[~taken] == 0).all()
    assert (grad[taken] != 0).all()
    inside = scores.detach().masked_fill(~taken, -torch.inf).requires_grad_()
    close(grad, torch.autograd.grad((inside.softmax(-1) @ values).sum(), inside)[0].nan_to_num())


def test_a_key_that_no_query_takes_gets_no_gradient_and_its_value_neither() -> None:
    module, x = build("TopKAttention", num_heads=1, topk=2), some(batch=1)
    q, k, v = (t.detach().requires_grad_() for t in module.project(x))
    scores = (q @ k.mT)[0, 0]
    taken = torch.zeros(35, dtype=torch.bool)
    taken[scores.topk(2).indices.flatten()] = True
    assert not taken.all()
    module.mix(q, k, v, (5, 7)).square().sum().backward()
    for grad in (k.grad, v.grad):
        assert isinstance(grad, Tensor)
        assert not grad[0, 0, ~taken].any()
        assert grad[0, 0, taken].any(-1).all()


def test_equal_scores_are_all_taken_and_share_the_gradient() -> None:
    scores = torch.tensor([3.0, 1.0, 2.0, 2.0, 2.0, 0.0], dtype=torch.float64, requires_grad=True)
    weights = top_k(scores, topk=2)
    assert (weights > 0).tolist() == [True, False, True, True, True, False]
    (grad,) = torch.autograd.grad(weights[0], scores)
    assert grad[2] == grad[3] == grad[4] != 0
    assert grad[1] == grad[5] == 0
    falling = torch.tensor([3.0, 1.0, 2.0, 2.0 - 1e-9, 2.0 - 2e-9, 0.0], dtype=torch.float64)
    assert (top_k(falling, topk=2)[0] - weights[0]).abs() > 0.1, "the output jumps at a tie"


def test_what_may_not_be_seen_is_not_taken() -> None:
    scores, allowed = torch.tensor([5.0, 1.0, 4.0, 2.0]), torch.tensor([False, True, True, False])
    for weights in (top_k(scores, allowed, topk=3), approximate_top_k(scores, allowed, topk=2, bins=2)):
        assert (weights[~allowed] == 0).all()
        assert weights.sum() == pytest.approx(1)


def test_rejected_options() -> None:
    with pytest.raises(RegardError, match="TopKAttention: topk 0"):
        TopKAttention(8, topk=0)
    with pytest.raises(RegardError, match="3 bins for the 4 largest"):
        ApproximateTopKAttention(8, topk=4, bins=3)
