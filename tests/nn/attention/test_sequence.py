"""Self-attention as it is taught: worked by hand, and against ``torch.nn.MultiheadAttention``."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from regard.errors import RegardError
from regard.nn.attention.core import SCORE_ACTIVATIONS
from regard.nn.attention.sequence import MultiHeadAttention, SingleHeadAttention

FOUR = torch.tensor([[[1, 0], [0, 1], [1, 1], [0, 0]]], dtype=torch.float64)


def taught(normaliser: str = "softmax") -> SingleHeadAttention:
    """q = sqrt(2) ln 2 a, k = a, v = a (3 1; 0 2), so that q_i . k_j / sqrt(2) = ln 2 (a_i . a_j)."""
    layer = SingleHeadAttention(2, score_activation=normaliser).double()
    with torch.no_grad():
        layer.w_q.weight.copy_(math.sqrt(2) * math.log(2) * torch.eye(2, dtype=torch.float64))
        layer.w_k.weight.copy_(torch.eye(2))
        layer.w_v.weight.copy_(torch.tensor([[3, 1], [0, 2]]).T)
    return layer


def test_four_vectors_by_hand() -> None:
    # a_i . a_j:    1 0 1 0 | 0 1 1 0 | 1 1 2 0 | 0 0 0 0
    # 2^(a_i . a_j): 2 1 2 1 | 1 2 2 1 | 2 2 4 1 | 1 1 1 1
    # values: (3, 1), (0, 2), (3, 3), (0, 0)
    output, weights = taught()(FOUR)
    a = [[2 / 6, 1 / 6, 2 / 6, 1 / 6], [1 / 6, 2 / 6, 2 / 6, 1 / 6], [2 / 9, 2 / 9, 4 / 9, 1 / 9], [1 / 4] * 4]
    b = [[2, 5 / 3], [3 / 2, 11 / 6], [2, 2], [3 / 2, 3 / 2]]
    torch.testing.assert_close(weights, torch.tensor([a], dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(output, torch.tensor([b], dtype=torch.float64), rtol=0, atol=1e-12)


def test_four_vectors_with_relu_in_place_of_the_softmax() -> None:
    # ln 2 (a_i . a_j) / 4 is nowhere negative, so that b = ln 2 / 4 times sums of values
    output, weights = taught("relu")(FOUR)
    a = [[1, 0, 1, 0], [0, 1, 1, 0], [1, 1, 2, 0], [0, 0, 0, 0]]
    b = [[6, 4], [3, 5], [9, 9], [0, 0]]
    scale = math.log(2) / 4
    torch.testing.assert_close(weights, scale * torch.tensor([a], dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(output, scale * torch.tensor([b], dtype=torch.float64), rtol=0, atol=1e-12)


def test_the_three_matrices_are_all_there_is_to_learn() -> None:
    shapes = {name: tuple(p.shape) for name, p in SingleHeadAttention(5, 3, 7).named_parameters()}
    assert shapes == {"w_q.weight": (3, 5), "w_k.weight": (3, 5), "w_v.weight": (7, 5)}
    output, weights = SingleHeadAttention(5, 3, 7)(torch.randn(2, 11, 5))
    assert output.shape == (2, 11, 7)
    assert weights.shape == (2, 11, 11)


@pytest.mark.parametrize("normaliser", SCORE_ACTIVATIONS)
def test_output_is_weights_times_values(normaliser: str) -> None:
    layer, a = (
        SingleHeadAttention(5, 3, score_activation=normaliser).double(),
        torch.randn(2, 7, 5, dtype=torch.float64),
    )
    output, weights = layer(a)
    scores = a @ layer.w_q.weight.T @ layer.w_k.weight @ a.mT / math.sqrt(3)
    torch.testing.assert_close(weights, SCORE_ACTIVATIONS[normaliser](scores, None), rtol=0, atol=1e-12)
    torch.testing.assert_close(output, weights @ (a @ layer.w_v.weight.T), rtol=0, atol=1e-12)


def torch_peer(layer: MultiHeadAttention, channels: int) -> nn.MultiheadAttention:
    peer = nn.MultiheadAttention(channels, layer.num_heads, bias=False, batch_first=True).double()
    with torch.no_grad():
        peer.in_proj_weight.copy_(torch.cat((layer.w_q.weight, layer.w_k.weight, layer.w_v.weight)))
        peer.out_proj.weight.copy_(layer.w_o.weight)
    return peer


@pytest.mark.parametrize(("channels", "heads"), [(15, 1), (15, 3), (15, 5), (8, 8)])
def test_several_heads_equal_torch(channels: int, heads: int) -> None:
    layer, a = MultiHeadAttention(channels, heads).double(), torch.randn(2, 7, channels, dtype=torch.float64)
    expected: tuple[Tensor, Tensor] = torch_peer(layer, channels)(a, a, a, average_attn_weights=False)
    for found, wanted in zip(layer(a), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


def test_one_head_with_an_output_matrix_is_the_single_head() -> None:
    several, one = MultiHeadAttention(6, 1).double(), SingleHeadAttention(6).double()
    one.load_state_dict({k: v for k, v in several.state_dict().items() if k != "w_o.weight"})
    a = torch.randn(2, 5, 6, dtype=torch.float64)
    output, weights = one(a)
    torch.testing.assert_close(several(a)[0], several.w_o(output), rtol=0, atol=1e-12)
    torch.testing.assert_close(several(a)[1][:, 0], weights, rtol=0, atol=1e-12)


def test_order_has_no_effect_and_duplicates_change_nothing() -> None:
    layer, a = MultiHeadAttention(6, 2).double(), torch.randn(2, 5, 6, dtype=torch.float64)
    order = torch.randperm(5)
    torch.testing.assert_close(layer(a[:, order])[0], layer(a)[0][:, order], rtol=0, atol=1e-12)
    torch.testing.assert_close(layer(torch.cat((a, a), 1))[0][:, :5], layer(a)[0], rtol=0, atol=1e-12)


def test_what_cannot_be_built() -> None:
    with pytest.raises(RegardError, match="num_heads 4 does not divide 15 channels"):
        MultiHeadAttention(15)
    with pytest.raises(RegardError, match="unknown score_activation"):
        SingleHeadAttention(4, score_activation="sofmax")
