"""The shared core: tokens and heads, scores and weights, sizes, checks, and what marks the mixing."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.errors import RegardError
from regard.nn.attention.core import (
    SCORE_ACTIVATIONS,
    ScoreActivation,
    attention_weights,
    ceil_div,
    check_divides,
    choose_score_activation,
    fused_attention,
    least,
    merge_heads,
    mixing,
    softmax,
    split_heads,
    to_map,
    to_tokens,
    values_for,
    watch_mixing,
)
from regard.runtimes.convert import to_torchscript


def test_tokens_stand_in_reading_order() -> None:
    x = torch.randn(2, 3, 5, 7)
    tokens = to_tokens(x)
    assert tokens.shape == (2, 35, 3)
    for row in range(5):
        for column in range(7):
            assert torch.equal(tokens[:, row * 7 + column], x[:, :, row, column])
    assert tokens.data_ptr() == x.data_ptr()
    assert torch.equal(to_map(tokens, (5, 7)), x)


def test_heads_share_out_the_channels_in_order() -> None:
    tokens = torch.randn(2, 7, 15)
    heads = split_heads(tokens, 3)
    assert heads.shape == (2, 3, 7, 5)
    assert all(torch.equal(heads[:, h], tokens[:, :, 5 * h : 5 * h + 5]) for h in range(3))
    assert heads.stride(-1) == 1
    assert torch.equal(merge_heads(heads), tokens)


@pytest.mark.parametrize("batch", [0, 1])
def test_empty_batches_keep_their_shape(batch: int) -> None:
    x = torch.zeros(batch, 6, 4, 2)
    assert to_map(to_tokens(x), (4, 2)).shape == x.shape
    assert merge_heads(split_heads(to_tokens(x), 3)).shape == (batch, 8, 6)


@pytest.mark.parametrize(("channels", "heads", "multiple"), [(1, 1, 1), (15, 5, 1), (24, 6, 4), (24, 2, 4), (8, 8, 1)])
def test_heads_that_share_evenly(channels: int, heads: int, multiple: int) -> None:
    check_divides(channels, heads, multiple=multiple)


@pytest.mark.parametrize(
    ("channels", "heads", "multiple", "possible", "best"),
    [
        (15, 4, 1, "1, 3, 5, 15", 3),  # 3 and 5 are as near; the fewer heads win
        (30, 4, 1, "1, 2, 3, 5, 6, 10, 15, 30", 3),
        (8, 0, 1, "1, 2, 4, 8", 1),
        (8, -2, 1, "1, 2, 4, 8", 1),
        (3, 99, 1, "1, 3", 3),
        (24, 4, 4, "1, 2, 3, 6", 3),
    ],
)
def test_the_nearest_number_is_named(channels: int, heads: int, multiple: int, possible: str, best: int) -> None:
    with pytest.raises(RegardError, match=f"num_heads {heads} does not divide {channels} channels") as caught:
        check_divides(channels, heads, multiple=multiple)
    assert caught.value.expected == f"num_heads: {possible}"
    assert caught.value.hint == f"the nearest is {best}"


def test_channels_that_no_number_of_heads_suits() -> None:
    with pytest.raises(RegardError, match="into multiples of 4") as caught:
        check_divides(6, 2, multiple=4)
    assert caught.value.expected == "a multiple of 4 channels"


SCORES = torch.tensor([[math.log(2.0), -1.0, 0.0, math.log(5.0)]], dtype=torch.float64)
SOME = torch.tensor([[True, True, False, True]])
A, B = math.log(2.0), math.log(5.0)
E = math.exp(-1.0)
BY_HAND = {
    # name: (every key seen, the third key masked)
    "softmax": ([2 / (8 + E), E / (8 + E), 1 / (8 + E), 5 / (8 + E)], [2 / (7 + E), E / (7 + E), 0, 5 / (7 + E)]),
    "relu": ([A / 4, 0, 0, B / 4], [A / 3, 0, 0, B / 3]),
    "squared_relu": ([A**2 / 4, 0, 0, B**2 / 4], [A**2 / 3, 0, 0, B**2 / 3]),
    # 1 / (1 + n exp(-s))
    "sigmoid": (
        [1 / (1 + 4 / 2), 1 / (1 + 4 / E), 1 / 5, 1 / (1 + 4 / 5)],
        [1 / (1 + 3 / 2), 1 / (1 + 3 / E), 0, 1 / (1 + 3 / 5)],
    ),
}


@pytest.mark.parametrize("name", SCORE_ACTIVATIONS)
def test_score_activations_by_hand(name: str) -> None:
    seen, masked = (torch.tensor([row], dtype=torch.float64) for row in BY_HAND[name])
    torch.testing.assert_close(SCORE_ACTIVATIONS[name](SCORES, None), seen, rtol=0, atol=1e-12)
    torch.testing.assert_close(SCORE_ACTIVATIONS[name](SCORES, SOME), masked, rtol=0, atol=1e-12)


@pytest.mark.parametrize("activation", SCORE_ACTIVATIONS.values())
def test_a_masked_key_gets_zero_and_changes_nothing(activation: ScoreActivation) -> None:
    scores = torch.randn(2, 3, 5, 7, dtype=torch.float64)
    allowed = torch.rand(5, 7) > 0.4
    allowed[:, 0] = True
    weights = activation(scores, allowed)
    assert (weights[..., ~allowed] == 0).all()
    for query in range(5):
        few = activation(scores[:, :, query, allowed[query]], None)
        torch.testing.assert_close(weights[:, :, query, allowed[query]], few, rtol=0, atol=1e-12)


def test_one_key_or_none() -> None:
    scores, allowed = torch.tensor([[3.0, 5.0]] * 2), torch.tensor([[False, True], [False, False]])
    assert SCORE_ACTIVATIONS["softmax"](scores, allowed)[0].tolist() == [0, 1]
    assert SCORE_ACTIVATIONS["relu"](scores, allowed).tolist() == [[0, 5], [0, 0]]
    assert SCORE_ACTIVATIONS["squared_relu"](scores, allowed).tolist() == [[0, 25], [0, 0]]
    expected = torch.tensor([[0, 1 / (1 + math.exp(-5))], [0, 0]])
    torch.testing.assert_close(SCORE_ACTIVATIONS["sigmoid"](scores, allowed), expected)


def test_only_the_softmax_sums_to_one() -> None:
    scores = torch.randn(3, 11, dtype=torch.float64)
    sums = {name: activation(scores, None).sum(-1) for name, activation in SCORE_ACTIVATIONS.items()}
    torch.testing.assert_close(sums["softmax"], torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-12)
    assert all((sums[name] - 1).abs().min() > 1e-3 for name in SCORE_ACTIVATIONS if name != "softmax")


def test_the_nearest_name_is_suggested() -> None:
    with pytest.raises(RegardError, match="unknown score_activation 'softmx'") as caught:
        choose_score_activation("softmx")
    assert "squared_relu" in str(caught.value.expected)
    assert "softmax" in str(caught.value.hint)


@pytest.fixture
def qkv() -> tuple[Tensor, Tensor, Tensor]:
    """Five queries, seven keys; two images, three heads; d_k = d_v = 11."""
    return tuple(torch.randn(2, 3, n, 11, dtype=torch.float64) for n in (5, 7, 7))


def by_loops(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Softmax attention, one number at a time."""
    weights = torch.zeros(*q.shape[:-1], k.shape[-2], dtype=torch.float64)
    output = torch.zeros(*q.shape[:-1], v.shape[-1], dtype=torch.float64)
    for b, h, i in torch.cartesian_prod(*(torch.arange(n) for n in q.shape[:3])).tolist():
        exps = []
        for j in range(k.shape[-2]):
            product = sum(q[b, h, i, c].item() * k[b, h, j, c].item() for c in range(q.shape[-1]))
            score = product / math.sqrt(q.shape[-1]) + (0.0 if bias is None else bias[h, i, j].item())
            exps.append(math.exp(score) if allowed is None or allowed[i, j] else 0.0)
        for j, e in enumerate(exps):
            weights[b, h, i, j] = e / sum(exps)
            output[b, h, i] += e / sum(exps) * v[b, h, j]
    return output, weights


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_by_loops(qkv: tuple[Tensor, Tensor, Tensor], masked: bool, biased: bool) -> None:
    allowed = torch.rand(5, 7) > 0.5 if masked else None
    if allowed is not None:
        allowed[:, 2] = True
    bias = torch.randn(3, 5, 7, dtype=torch.float64) if biased else None
    weights = attention_weights(*qkv[:2], bias=bias, allowed=allowed)
    expected, expected_weights = by_loops(*qkv, allowed, bias)
    torch.testing.assert_close(weights, expected_weights, rtol=0, atol=1e-12)
    torch.testing.assert_close(weights @ qkv[2], expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(fused_attention(*qkv, bias=bias, allowed=allowed), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("activation", SCORE_ACTIVATIONS.values())
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_fused_equals_written_out(
    qkv: tuple[Tensor, Tensor, Tensor], activation: ScoreActivation, dtype: torch.dtype
) -> None:
    q, k, v = (t.to(dtype) for t in qkv)
    output = attention_weights(q, k, activation) @ v
    atol = 1e-12 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(fused_attention(q, k, v, activation), output, rtol=0, atol=atol)


def test_a_new_activation_is_one_function(qkv: tuple[Tensor, Tensor, Tensor]) -> None:
    def mean(scores: Tensor, allowed: Tensor | None) -> Tensor:
        assert allowed is None
        return torch.full_like(scores, 1 / scores.shape[-1])

    expected = qkv[2].mean(-2, keepdim=True).expand(-1, -1, 5, -1)
    torch.testing.assert_close(fused_attention(*qkv, mean), expected, rtol=0, atol=1e-12)


def test_equals_the_kernel_of_torch(qkv: tuple[Tensor, Tensor, Tensor]) -> None:
    expected = F.scaled_dot_product_attention(*qkv)
    torch.testing.assert_close(attention_weights(*qkv[:2]) @ qkv[2], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("d_v", [3, 13])
def test_values_of_another_width_than_keys(qkv: tuple[Tensor, Tensor, Tensor], d_v: int) -> None:
    q, k, _ = qkv
    v = torch.randn(2, 3, 7, d_v, dtype=torch.float64)
    found = fused_attention(q, k, v)
    torch.testing.assert_close(found, softmax(q @ k.mT / math.sqrt(11), None) @ v, rtol=0, atol=1e-12)


class Least(nn.Module):
    """Fills ``(min(H, 5), min(W, H))``, by an axis and a number and by two axes."""

    def forward(self, x: Tensor) -> Tensor:
        return x.new_ones(least(5, x.shape[0]), least(x.shape[1], x.shape[0]))


PAIRS = [(3, 7), (5, 5), (8, 2), (4, 11)]
EXAMPLE = torch.zeros(6, 9)


@pytest.mark.parametrize("size", PAIRS)
def test_the_least_of_numbers(size: tuple[int, int]) -> None:
    assert (least(*size), least(*reversed(size))) == (min(size), min(size))


def test_a_trace_follows_the_least() -> None:
    check_least(to_torchscript(Least(), (EXAMPLE,)))


def test_an_export_and_a_compiler_follow_the_least() -> None:
    shapes = {"x": dict.fromkeys((0, 1), torch.export.Dim.DYNAMIC)}
    check_least(torch.export.export(Least(), (EXAMPLE,), dynamic_shapes=shapes).module())
    torch._dynamo.reset()
    check_least(torch.compile(Least(), dynamic=True, fullgraph=True, backend="eager"))


def check_least(run: Callable[[Tensor], Tensor]) -> None:
    for height, width in PAIRS:
        assert run(torch.zeros(height, width)).shape == (min(height, 5), min(width, height))


def test_rounding_up() -> None:
    assert [ceil_div(n, 4) for n in (0, 1, 4, 5, 8)] == [0, 1, 1, 2, 2]


def test_mixing_is_handed_to_the_watch_and_to_nobody_after_it() -> None:
    values, reported = torch.randn(2, 3), []

    def watch(step: Callable[..., Tensor], inputs: tuple[Tensor, ...], without: Tensor) -> Tensor:
        reported.append((step, inputs))
        return without

    def fail() -> None:
        with watch_mixing(watch):
            assert mixing(torch.neg, values, without=values) is values
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert reported == [(torch.neg, (values,))]
    assert torch.equal(mixing(torch.neg, values, without=values), -values)


def test_values_where_nothing_is_mixed() -> None:
    queries, values = torch.randn(2, 3, 7, 4), torch.randn(2, 3, 5, 6)
    assert values_for(queries[:, :, :5], values) is values
    assert torch.equal(values_for(queries, values), values[:, :, :1].expand(-1, -1, 7, -1))
