"""Adaptively spatial feature fusion, position by position, alone and in a detector."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from regard.errors import RegardError
from regard.graph.build import build
from regard.graph.detector import Detector
from regard.graph.read import parse_spec
from regard.nn.asff import ASFF

GRAPH = """
nc: 2
depth_multiple: 0.33
width_multiple: 0.25
anchors: 3
backbone:
  - [-1, 1, Conv, [64, 6, 2, 2]]
  - [-1, 1, Conv, [128, 3, 2]]
  - [-1, 1, Conv, [256, 3, 2]]
  - [-1, 1, Conv, [512, 3, 2]]
  - [-1, 1, Conv, [1024, 3, 2]]
head:
"""


def built(head: str) -> Detector:
    return build(parse_spec(GRAPH + head, None))


@pytest.mark.parametrize("level", [0, 1, 2])
def test_by_definition(level: int) -> None:
    layer = ASFF([3, 5, 7], level, strides=(8, 16, 32)).double().eval()
    maps = [torch.randn(2, c, 44 // s, 52 // s, dtype=torch.float64) for c, s in ((3, 1), (5, 2), (7, 4))]
    y = layer(maps)
    assert y.shape == maps[level].shape
    resized = []
    for n, x in enumerate(maps):
        if n == level:
            resized.append(x)
            continue
        if n < level - 1:
            x = functional.max_pool2d(x, 3, 2, 1)
        x = layer.resize[n][-1](x) if n < level else layer.resize[n](x)  # type: ignore[index]
        factor = 2 ** max(n - level, 0)
        resized.append(x.repeat_interleave(factor, 2).repeat_interleave(factor, 3))
    for i in range(y.shape[2]):
        for j in range(y.shape[3]):
            vectors = [x[:, :, i, j] for x in resized]
            scores = [score(v[:, :, None, None])[:, 0, 0, 0] for score, v in zip(layer.score, vectors, strict=True)]
            total = sum(s.exp() for s in scores)
            expected = sum(v * (s.exp() / total)[:, None] for v, s in zip(vectors, scores, strict=True))
            assert torch.allclose(y[:, :, i, j], expected)


def test_levels_that_do_not_exist() -> None:
    with pytest.raises(RegardError, match="level is 2"):
        ASFF([3, 5], 2, strides=(8, 16))
    with pytest.raises(RegardError, match="strides 8, 24"):
        ASFF([3, 5], 0, strides=(8, 24))


def test_as_a_row_and_as_a_head() -> None:
    row = built("  - [[2, 3, 4], 1, ASFF, [1]]\n  - [[2, -1, 4], 1, Detect, [nc, anchors]]\n")
    assert row.spec.info[row.spec.layers[5].name].stride == 16
    head = built("  - [[2, 3, 4], 1, ASFF_Detect, [nc, anchors]]\n")
    assert head.strides == (8, 16, 32)
    x = torch.rand(1, 3, 96, 160)
    torch.manual_seed(2)
    assert head(x).boxes.shape == (1, 3 * (12 * 20 + 6 * 10 + 3 * 5), 4)
    written = build(parse_spec(head.spec.to_yolov5_yaml(), None))
    written.load_state_dict(head.state_dict())
    assert torch.equal(written(x).scores, head(x).scores)
