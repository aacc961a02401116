from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from regard.errors import RegardError
from regard.nn.attention.core import SCORE_ACTIVATIONS, to_map, to_tokens
from regard.nn.attention.position import POSITIONS
from regard.nn.attention.self_attention import MultiHeadSelfAttention, SelfAttention
from regard.nn.attention.sequence import SingleHeadAttention

SIZE = (3, 5)
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


def stacked_rows(layer: SelfAttention | MultiHeadSelfAttention, x: Tensor) -> Tensor:
    """The map of every query: (B, heads, N, N)."""
    height, width = x.shape[2:]
    rows = [layer.attention(x, (i // width, i % width)).weights.flatten(3) for i in range(height * width)]
    return torch.cat(rows, 2)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("heads", [1, 3, 5])
def test_equals_torch(heads: int, dtype: torch.dtype) -> None:
    layer, x = MultiHeadSelfAttention(15, heads).to(dtype), torch.randn(2, 15, *SIZE, dtype=dtype)
    peer = nn.MultiheadAttention(15, heads, batch_first=True).to(dtype)
    with torch.no_grad():
        peer.in_proj_weight.copy_(layer.qkv.weight)
        peer.in_proj_bias.copy_(layer.qkv.bias)
    peer.out_proj.load_state_dict(layer.out.state_dict())
    tokens = to_tokens(x)
    output, weights = peer(tokens, tokens, tokens, average_attn_weights=False)
    torch.testing.assert_close(layer(x), to_map(output, SIZE), rtol=0, atol=TOLERANCE[dtype])
    torch.testing.assert_close(stacked_rows(layer, x), weights, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_equals_timm(dtype: torch.dtype) -> None:
    timm_layers = pytest.importorskip("timm.layers")
    layer, x = MultiHeadSelfAttention(15, 3).to(dtype), torch.randn(2, 15, *SIZE, dtype=dtype)
    peer = timm_layers.Attention(15, num_heads=3, qkv_bias=True).to(dtype)
    peer.load_state_dict({k.replace("out.", "proj."): v for k, v in layer.state_dict().items()})
    torch.testing.assert_close(layer(x), to_map(peer(to_tokens(x)), SIZE), rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("normaliser", SCORE_ACTIVATIONS)
def test_a_map_is_a_sequence_to_one_head(normaliser: str) -> None:
    layer, x = SelfAttention(7, score_activation=normaliser).double(), torch.randn(2, 7, *SIZE, dtype=torch.float64)
    sequence = SingleHeadAttention(7, score_activation=normaliser).double()
    sequence.load_state_dict(layer.state_dict())
    output, weights = sequence(to_tokens(x))
    torch.testing.assert_close(layer(x), to_map(output, SIZE), rtol=0, atol=1e-12)
    torch.testing.assert_close(stacked_rows(layer, x)[:, 0], weights, rtol=0, atol=1e-12)


@pytest.mark.parametrize("key_channels", [None, 1, 3, 11])
def test_one_head_by_its_equation(key_channels: int | None) -> None:
    layer, x = SelfAttention(7, key_channels).double(), torch.randn(2, 7, *SIZE, dtype=torch.float64)
    a = to_tokens(x)
    q, k, v = (a @ w.weight.T for w in (layer.w_q, layer.w_k, layer.w_v))
    weights = (q @ k.mT / math.sqrt(key_channels or 7)).softmax(-1)
    torch.testing.assert_close(layer(x), to_map(weights @ v, SIZE), rtol=0, atol=1e-12)
    torch.testing.assert_close(stacked_rows(layer, x)[:, 0], weights, rtol=0, atol=1e-12)
    assert {name for name, _ in layer.named_parameters()} == {"w_q.weight", "w_k.weight", "w_v.weight"}


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("normaliser", SCORE_ACTIVATIONS)
def test_rows_of_the_map_times_values_are_the_output(normaliser: str, positions: str) -> None:
    layer = MultiHeadSelfAttention(16, 2, positions, normaliser).double()
    x = torch.randn(2, 16, *SIZE, dtype=torch.float64)
    mixed = stacked_rows(layer, x) @ layer.project(x)[2]
    expected = to_map(layer.out(mixed.transpose(1, 2).flatten(2)), SIZE)
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("normaliser", SCORE_ACTIVATIONS)
def test_duplicated_tokens_leave_normalised_attention_unchanged(normaliser: str) -> None:
    x = torch.randn(2, 8, *SIZE, dtype=torch.float64)
    twice = torch.cat((x, x), 2)
    for layer in (
        SelfAttention(8, score_activation=normaliser),
        MultiHeadSelfAttention(8, score_activation=normaliser),
    ):
        found = layer.double()(twice)
        # the softmax and what divides by N do not change; the sigmoid's b = -log N shifts inside its curve
        if normaliser == "sigmoid":
            assert (found[:, :, :3] - layer(x)).abs().max() > 1e-6
        else:
            torch.testing.assert_close(found[:, :, :3], layer(x), rtol=0, atol=1e-12)


def test_rows_sum_to_one() -> None:
    x = torch.randn(2, 8, *SIZE, dtype=torch.float64)
    for layer in (SelfAttention(8).double(), MultiHeadSelfAttention(8, pos_embed="relative").double()):
        sums = stacked_rows(layer, x).sum(-1)
        torch.testing.assert_close(sums, torch.ones_like(sums), rtol=0, atol=1e-12)


def test_quadratic_memory_is_reported() -> None:
    assert SelfAttention(8).note == MultiHeadSelfAttention(16, pos_embed="rotary").note == ""
    assert "relu is written out" in SelfAttention(8, score_activation="relu").note
    assert "sigmoid is written out" in MultiHeadSelfAttention(8, score_activation="sigmoid").note
    assert "relative positions" in MultiHeadSelfAttention(8, pos_embed="relative").note


def test_what_cannot_be_built() -> None:
    with pytest.raises(RegardError, match="num_heads 4 does not divide 15 channels"):
        MultiHeadSelfAttention(15)
    with pytest.raises(RegardError, match="unknown score_activation"):
        SelfAttention(15, score_activation="max")
    with pytest.raises(RegardError, match="qk_dim"):
        SelfAttention(15, qk_dim=-2)
