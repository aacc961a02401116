from __future__ import annotations

import math

import pytest
import torch

from regard.errors import RegardError
from regard.nn.attention.core import merge_heads, split_heads, to_map, to_tokens
from regard.nn.attention.differential import DifferentialAttention


@pytest.mark.parametrize("depth", [0, 3])
def test_equals_timm(depth: int) -> None:
    layers = pytest.importorskip("timm.layers")
    first = 0.8 - 0.6 * math.exp(-0.3 * depth)
    ours = DifferentialAttention(24, 3, first).double()
    theirs = layers.DiffAttention(24, 3, qkv_bias=True, depth=depth).double()
    vectors = dict(zip(("lambda_q1", "lambda_k1", "lambda_q2", "lambda_k2"), ours.lambda_vectors, strict=True))
    torch.nn.init.normal_(ours.lambda_vectors)
    torch.nn.init.normal_(ours.scale)
    state = {f"qkv.{k}": v for k, v in ours.qkv.state_dict().items()}
    state |= {f"proj.{k}": v for k, v in ours.out.state_dict().items()}
    theirs.load_state_dict(state | vectors | {"sub_norm.weight": ours.scale})
    x = torch.randn(2, 24, 5, 7, dtype=torch.float64)
    # timm computes the factor in float32 alone
    torch.testing.assert_close(ours(x), to_map(theirs(to_tokens(x)), (5, 7)), rtol=0, atol=1e-6)


def test_what_both_softmaxes_attend_to_cancels_out() -> None:
    module, x = DifferentialAttention(8, 2, 0.5).double(), torch.randn(1, 8, 3, 5, dtype=torch.float64)
    torch.nn.init.zeros_(module.lambda_vectors)  # exp(0) - exp(0) + 0.5
    with torch.no_grad():
        for weight in (module.qkv.weight, module.qkv.bias):
            halves = weight.view(3, 2, 2, 2, -1)
            halves[:2, :, 1] = halves[:2, :, 0]
    weights = module.attention(x, (2, 1)).weights
    q, k, v = module.project(x)
    plain = (q[:, :, 11:12, :2] @ k[..., :2].mT / math.sqrt(2)).softmax(-1)
    torch.testing.assert_close(weights.flatten(-2), plain / 2, rtol=0, atol=1e-12)
    assert v.shape == split_heads(merge_heads(v), 2).shape


def test_options() -> None:
    with pytest.raises(RegardError, match="does not divide 12 channels into multiples of 2"):
        DifferentialAttention(12, 4)
    with pytest.raises(RegardError, match=r"lambda_init 1\.0"):
        DifferentialAttention(8, 2, 1.0)
