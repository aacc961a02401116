"""The head of YOLOv5 by hand and by loops: raw outputs, decoding, selection, anchors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from regard.config import LossSettings
from regard.errors import RegardError
from regard.nn.heads import YOLOv5Head
from regard.nn.heads.yolov5 import default_anchors


def test_head_is_anchor_major() -> None:
    head, maps = (
        YOLOv5Head([3, 5], 2, [[1, 2, 3, 4], [5, 6, 7, 8]], strides=[8, 16]),
        [torch.rand(2, 3, 4, 6), torch.rand(2, 5, 2, 3)],
    )
    for level, (raw, x) in enumerate(zip(head(maps), maps, strict=True)):
        flat = head.m[level](x)
        assert raw.shape == (2, 2, *x.shape[2:], 7)
        for anchor in range(2):
            for channel in range(7):
                assert torch.equal(raw[:, anchor, ..., channel], flat[:, anchor * 7 + channel])
    assert head.anchors.tolist() == [[[1 / 8, 2 / 8], [3 / 8, 4 / 8]], [[5 / 16, 6 / 16], [7 / 16, 8 / 16]]]


def test_decode_by_loops() -> None:
    shapes, strides = [(2, 3, 2, 5, 7), (2, 3, 1, 3, 7)], (8, 16)
    raw, anchors = [torch.randn(s) for s in shapes], torch.rand(2, 3, 2) * 4
    head = YOLOv5Head([3, 5], 2, 3, strides=strides)
    head.anchors.copy_(anchors)
    rows: list[list[list[float]]] = [[], []]
    for b in range(2):
        for level, stride in enumerate(strides):
            for a in range(3):
                for i in range(shapes[level][2]):
                    for j in range(shapes[level][3]):
                        s = [1 / (1 + math.exp(-v)) for v in raw[level][b, a, i, j].tolist()]
                        w, h = (anchors[level, a] * stride).tolist()
                        box = [(2 * s[0] - 0.5 + j) * stride, (2 * s[1] - 0.5 + i) * stride]
                        rows[b].append([*box, (2 * s[2]) ** 2 * w, (2 * s[3]) ** 2 * h, *(s[4] * p for p in s[5:])])
    boxes, scores = head.decode(raw)
    assert (boxes.shape, scores.shape) == ((2, 3 * 10 + 3 * 3, 4), (2, 3 * 10 + 3 * 3, 2))
    assert torch.allclose(torch.cat((boxes, scores), 2), torch.tensor(rows), rtol=1e-5, atol=1e-5)
    assert all(x.dtype == torch.float32 for x in head.decode([level.half() for level in raw]))


def test_prior_bias() -> None:
    torch.manual_seed(3)
    plain = [nn.Conv2d(c, 3 * 9, 1).bias for c in (4, 6)]
    torch.manual_seed(3)
    head = YOLOv5Head([4, 6], 4, 3, strides=[8, 32])
    for conv_, before, stride in zip(head.m, plain, (8, 32), strict=True):
        assert before is not None
        change = (conv_.bias - before).detach().view(3, 9)
        assert torch.equal(change[:, :4], torch.zeros(3, 4))
        assert change[:, 4].tolist() == pytest.approx([math.log(8 / (640 / stride) ** 2)] * 3, rel=1e-5)
        assert change[:, 5:].flatten().tolist() == pytest.approx([math.log(0.6 / (3 + 1e-5))] * 12, rel=1e-5)


def test_anchors_to_begin_with_grow_with_the_stride() -> None:
    assert default_anchors([8, 16], 3) == [[16, 16, 32, 32, 48, 48], [32, 32, 64, 64, 96, 96]]
    assert default_anchors([8], 1) == [[16, 16]]
    with pytest.raises(RegardError, match="1 level of anchors for 2 detection levels"):
        YOLOv5Head([3, 5], 2, [[1, 2]], strides=[8, 16])


def raw_levels(images: int = 3, nc: int = 7) -> tuple[YOLOv5Head, list[Tensor]]:
    head = YOLOv5Head([4, 6], nc, [[10, 13, 16, 30], [33, 23, 30, 61]], strides=(8, 16))
    return head, [torch.randn(images, 2, ny, nx, 5 + nc) * 3 for ny, nx in ((7, 11), (4, 5))]


@pytest.mark.parametrize("conf", [-1.0, 0.0, 0.001, 0.25, 0.9, 1.0])
def test_selected_predictions_are_those_of_all_that_score(conf: float) -> None:
    head, levels = raw_levels()
    boxes, scores = head.decode(levels)
    selected = head.select(levels, conf)
    assert len(selected) == 3
    for own, all_boxes, all_scores in zip(selected, boxes, scores, strict=True):
        likely = all_scores.amax(1) > conf
        assert torch.equal(own, torch.cat((all_boxes, all_scores), 1)[likely])  # bit for bit, in the same order
    assert (sum(map(len, selected)) > 3) == (conf < 1)


@pytest.mark.parametrize("conf", [-1.0, 0.25, 1.0])
def test_levels_of_a_compiled_model_decode_to_the_same_without_torch(conf: float) -> None:
    head, _ = raw_levels()
    features = [torch.randn(2, 4, 7, 11) * 3, torch.randn(2, 6, 4, 5) * 3]
    exported, decoder = head.raw_export()
    with torch.no_grad():
        raw = [level.numpy() for level in exported(features)]
        expected = head.select(head(features), conf)
    for i, own in enumerate(expected):
        found = decoder.decode([level[i] for level in raw], conf)
        np.testing.assert_allclose(found, own.numpy(), rtol=1e-5, atol=1e-4)


def test_the_graph_states_the_anchors_that_the_head_has() -> None:
    head = YOLOv5Head([3, 5], 2, 3, strides=(8, 16))
    assert head.graph_values() == {"anchors": 3}
    assert head.object_sizes() is None
    head.anchors[1, 0, 1] = 2.53125
    first, second = head.graph_values()["anchors"]
    assert list(first) == default_anchors([8], 3)[0]
    assert second[:2] == (32.0, 40.5)
    again = YOLOv5Head([3, 5], 2, head.graph_values()["anchors"], strides=(8, 16))
    assert torch.equal(again.anchors, head.anchors)
    assert not again.prefers_own("anchors", head.anchors)
    assert again.prefers_own("anchors", 2 * head.anchors)


def test_anchors_are_fitted_to_the_levels_by_their_strides() -> None:
    sizes = np.random.default_rng(0).uniform(1, 4, (300, 2)) ** 5
    fitted = {}
    for strides in ((8, 16, 32), (32, 16, 8)):
        head = YOLOv5Head([3, 3, 3], 2, 3, strides=strides)
        assert head.fit_to(sizes, settings=LossSettings(), seed=1).endswith(", refitted")
        fitted[strides[0]] = head.graph_values()["anchors"]
    assert fitted[8] == fitted[32][::-1]
    areas = [w * h for level in fitted[8] for w, h in zip(level[::2], level[1::2], strict=True)]
    assert areas == sorted(areas)
