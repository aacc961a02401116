from __future__ import annotations

import time

import pytest
import torch
from torch import nn

from regard.errors import RegardError
from regard.graph.build import build
from regard.graph.read import parse_spec
from regard.nn.activation import plain_activation
from regard.nn.conv import Conv

GRAPH = """nc: 2
activation: {}
depth_multiple: 0.33
width_multiple: 0.25
anchors: 3
backbone:
  - [-1, 1, Conv, [64, 6, 2, 2]]
  - [-1, 3, C3, [64]]
head:
  - [[-1], 1, Detect, [nc, anchors]]
"""


@pytest.mark.parametrize(
    ("text", "plain", "value"),
    [
        ("nn.LeakyReLU(0.1)", "nn.LeakyReLU(0.1)", nn.LeakyReLU(0.1)),
        ("torch.nn.LeakyReLU(negative_slope=0.2, inplace=True)", "nn.LeakyReLU(0.2)", nn.LeakyReLU(0.2)),
        ("nn.ReLU()", "nn.ReLU()", nn.ReLU()),
        ("Hardswish", "nn.Hardswish()", nn.Hardswish()),
        ("nn.SiLU(inplace=False)", "nn.SiLU()", nn.SiLU()),
    ],
)
def test_every_convolution_ends_in_the_stated_activation(text: str, plain: str, value: nn.Module) -> None:
    detector = build(parse_spec(GRAPH.format(text), None))
    assert plain_activation(text) == plain
    x = torch.linspace(-7, 7, 29)
    convolutions = [part for part in detector.modules() if isinstance(part, Conv)]
    assert len(convolutions) == 1 + 3 + 2
    for part in convolutions:
        torch.testing.assert_close(part.act(x), value(x))
    again = build(parse_spec(detector.spec.to_yaml(), None))
    assert again.spec.activation == plain
    assert parse_spec(detector.spec.to_yolov5_yaml(), None).activation == plain


@pytest.mark.parametrize("text", ["nn.LeakyRelu(0.1)", "__import__('os')", "nn.ReLU(3)", "nn.LeakyReLU(a, b)", "7"])
def test_anything_else_is_rejected(text: str) -> None:
    with pytest.raises(RegardError, match="activation is"):
        parse_spec(GRAPH.format(text), None)


@pytest.mark.parametrize("text", ["a(" + " " * 200_000, "a(" + " " * 200_000 + ")x", f"nn.ELU({'1' * 200_000}x)"])
def test_long_texts_take_no_quadratic_time(text: str) -> None:
    began = time.process_time()
    with pytest.raises(RegardError):
        plain_activation(text)
    assert time.process_time() - began < 2
