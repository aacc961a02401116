"""Receptive fields against the formula for convolutions, and those of attention that sees all or a window."""

from __future__ import annotations

import pytest

import regard
from regard.errors import RegardError
from regard.graph.receptive import receptive_fields


def test_convolutions_follow_the_formula() -> None:
    model = regard.load("yolov5n")
    found = receptive_fields(model, 512)
    size, stride, expected = 1, 1, {}
    for name, kernel, step in (("stem", 6, 2), ("p2.down", 3, 2)):
        size, stride = size + (kernel - 1) * stride, stride * step
        expected[name] = float(size)
    expected["p2"] = float(size + 2 * stride)  # the bottleneck has one convolution of 3 x 3
    size, stride = size + 2 * stride + 2 * stride, 2 * stride
    expected["p3.down"] = float(size)
    assert {name: found[name] for name in expected} == expected
    assert found["sppf"] == 2 * 6 * 32 + found["p5"]  # three poolings of 5 x 5, one after another
    assert found["head.p5_lateral"] == found["head.p4_up"]
    assert list(found) == [row.name for row in model.spec.layers[:-1]]


@pytest.mark.parametrize(("module", "added"), [("LocalAttention", 6 * 16), ("SE", None), ("SelfAttention", None)])
def test_attention_sees_its_window_or_everything(module: str, added: int | None) -> None:
    edited = regard.insert(regard.load("yolov5n"), module, after="p4", gate=False)
    before = {name: p.detach().clone() for name, p in edited.named_parameters()}
    found = receptive_fields(edited, 320)
    inside = found[f"p4.{module.lower()}"]
    assert inside == (None if added is None else found["p4"] + added)
    assert receptive_fields(edited, 320) == found
    assert all((p == before[name]).all() for name, p in edited.named_parameters())


def test_the_size_suits_the_model() -> None:
    with pytest.raises(RegardError, match="image size 100"):
        receptive_fields(regard.load("odd-one-out"), 100)
