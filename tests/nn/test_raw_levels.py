"""One definition of YOLOv5's boxes and scores serves arrays and tensors: they agree with a slow reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from regard.nn.heads import AnchorFreeHead, Head, YOLOv5Head
from regard.nn.raw_levels import OTHERS, DistanceDecoder, centre_and_size, class_scores, least_logit


def test_boxes_and_scores_agree_with_a_loop_for_arrays_and_tensors() -> None:
    rng = np.random.default_rng(3)
    s, anchors = rng.random((11, OTHERS + 3)).astype(np.float32), rng.uniform(1, 9, (11, 2)).astype(np.float32)
    centre, size = centre_and_size(s, anchors)
    scores = class_scores(s)
    of_tensors = (*centre_and_size(torch.from_numpy(s), torch.from_numpy(anchors)), class_scores(torch.from_numpy(s)))
    for found, expected in zip(of_tensors, (centre, size, scores), strict=True):
        assert torch.equal(found, torch.from_numpy(expected))
    for i, (x, y, w, h, objectness, *classes) in enumerate(s.tolist()):
        assert centre[i].tolist() == pytest.approx([2 * x - 0.5, 2 * y - 0.5], abs=1e-6)
        assert size[i].tolist() == pytest.approx([4 * w * w * anchors[i, 0], 4 * h * h * anchors[i, 1]], rel=1e-6)
        assert scores[i].tolist() == pytest.approx([objectness * c for c in classes], rel=1e-6)


def test_the_decoder_without_torch_agrees_with_the_head() -> None:
    torch.manual_seed(5)
    head = YOLOv5Head([3, 5], 7, 2, strides=(8, 16))
    levels = [level.detach() for level in head.levels([torch.randn(1, 3, 11, 13), torch.randn(1, 5, 5, 7)])]
    expected = torch.cat(head.decode(levels), 2)[0].numpy()
    _, decoder = head.raw_export()
    raw = [level.permute(0, 1, 4, 2, 3).flatten(1, 2)[0].numpy() for level in levels]
    found = decoder.decode(raw, -1)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_no_probability_above_the_threshold_has_a_smaller_logit() -> None:
    for conf in (1e-3, 0.25, 0.9):
        p = math.nextafter(conf, 1)
        assert math.log(p / (1 - p)) > least_logit(conf) > math.log(conf / (1 - conf)) - 0.01
    assert least_logit(-1) == least_logit(0) == -math.inf
    assert least_logit(1) == math.inf


@pytest.mark.parametrize("reg_max", [1, 5, 16])
@pytest.mark.parametrize("one_to_one", [False, True])
def test_distances_are_decoded_as_by_the_head_and_only_where_a_class_is_likely(reg_max: int, one_to_one: bool) -> None:
    torch.manual_seed(7)
    head = AnchorFreeHead([3, 5], 7, reg_max, end2end=True, strides=(8, 16)).eval()
    head.one_to_one = one_to_one
    levels = [3 * torch.randn(2, 4 * reg_max + 7, 11, 13), 3 * torch.randn(2, 4 * reg_max + 7, 5, 7)]
    expected = torch.cat(head.decode(levels), 2)
    _, decoder = head.raw_export()
    assert decoder.channels(7) == tuple(level.shape[1] for level in levels)
    for conf in (-1.0, 0.0, 0.97, 1.0):
        plain, selected = Head.select(head, levels, conf), head.select(levels, conf)
        for i in range(2):
            rows = expected[i][expected[i, :, 4:].amax(1) > conf].numpy()
            assert (0 < len(rows) < 178) == (conf == 0.97)
            decoded = decoder.decode([level[i].numpy() for level in levels], conf)
            for found in (plain[i].numpy(), selected[i].numpy(), decoded):
                np.testing.assert_allclose(found, rows, rtol=1e-5, atol=3e-4)


def test_a_cell_of_nan_is_kept_by_the_decoder() -> None:
    levels = [np.zeros((4 + 3, 2, 5), np.float32)]
    levels[0][5, 1, 2] = np.nan
    decoder = DistanceDecoder(strides=(8,), bins=1)
    assert np.isnan(decoder.decode(levels, 0.9)).any()
    assert len(decoder.decode([np.nan_to_num(levels[0])], 0.9)) == 0
