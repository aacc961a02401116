"""PartialSelfAttention: both halves by hand, its attention against the kernel of torch, and its share of the cost."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

import regard
from regard.errors import RegardError
from regard.nn.attentive_blocks import HalfKeyAttention, PartialSelfAttention
from regard.nn.capture import attention_modules


def test_the_attention_by_torch() -> None:
    module, x = HalfKeyAttention(16, 2).double(), torch.randn(3, 16, 5, 7, dtype=torch.float64)
    q, k, v = module.qkv(x.flatten(2).mT).split((8, 8, 16), -1)
    q, k, v = (t.unflatten(-1, (2, -1)).transpose(1, 2) for t in (q, k, v))
    expected = module.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)).mT.view(x.shape)
    torch.testing.assert_close(module(x), expected, rtol=0, atol=1e-12)
    weights = (q @ k.mT / 2).softmax(-1)
    found = module.attention(x, (3, 2)).weights[:, :, 0].flatten(2)
    torch.testing.assert_close(found, weights[:, :, 23], rtol=0, atol=1e-12)


def test_one_half_passes_and_the_other_attends() -> None:
    layer, x = PartialSelfAttention(16, 24, 2, repeats=2).eval(), torch.randn(2, 16, 5, 7)
    passed, y = layer.cv1(x)[:, :8], layer.cv1(x)[:, 8:]
    for block in layer.m:
        y = y + block.attend(y / (1 + 1e-3) ** 0.5)
        y = y + block.ffn(y)
    torch.testing.assert_close(layer(x), layer.cv2(torch.cat((passed, y), 1)))
    assert layer(x).shape == (2, 24, 5, 7)
    assert list(attention_modules([("p5", layer)])) == ["p5.m.0.attend", "p5.m.1.attend"]


def test_it_is_inserted_by_name() -> None:
    base = regard.load("odd-one-out")
    edited = regard.insert(base, "PartialSelfAttention", after="p4", options={"num_heads": 2})
    images = torch.rand(1, 3, 64, 64)
    assert all(map(torch.equal, edited(images), base(images)))  # the gate is closed
    assert edited.layer("p4.partialselfattention").module.m[0].attend.num_heads == 2


def test_rejected_options() -> None:
    with pytest.raises(RegardError, match="num_heads 4 does not divide 12 channels into multiples of 2"):
        PartialSelfAttention(24)
