from __future__ import annotations

import pytest

import regard
from regard.graph.cost import row_costs
from regard.nn.table import LAYERS
from regard.nn.transformer import C3TR


@pytest.mark.parametrize("imgsz", [64, 320])
def test_the_cost_of_c3tr_includes_its_attention(imgsz: int) -> None:
    """Its fused attention is counted: 4 N^2 C over the C channels that pass the Transformer."""
    detector = regard.insert(regard.load("yolov5n"), "C3TR", after="sppf", gate=False)
    (index,) = (i for i, layer in enumerate(detector.model) if isinstance(layer, C3TR))
    layer = detector.model[index]
    assert isinstance(layer, C3TR)
    channels, hidden, n = layer.cv1.conv.in_channels, layer.cv1.conv.out_channels, (imgsz // 32) ** 2
    convolutions = 2 * n * (2 * channels * hidden + 2 * hidden * channels)
    # the positions' layer; q, k, v; the projections of nn.MultiheadAttention, in and out; two layers
    linear = 2 * n * hidden**2 * (1 + 3 + 3 + 1 + 2)
    assert row_costs(detector, imgsz)[index].flops == convolutions + linear + 4 * n**2 * hidden


def test_c3tr_is_a_layer_by_its_yolov5_name() -> None:
    assert LAYERS["C3TR"] is C3TR
