"""Deformable attention over several maps: against ``grid_sample``, and against its form on one map."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.errors import RegardError
from regard.graph.build import build
from regard.graph.read import parse_spec
from regard.nn.attention.deformable import DeformableAttention
from regard.nn.multi_scale import MultiScaleDeformable


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def stirred(channels: list[int], heads: int = 2, points: int = 3) -> MultiScaleDeformable:
    layer = MultiScaleDeformable(channels, heads, points).double()
    for linear in (layer.offsets, layer.weights):
        nn.init.normal_(linear.weight, std=0.5)
        nn.init.normal_(linear.bias)
    return layer


def by_grid_sample(layer: MultiScaleDeformable, maps: list[Tensor]) -> Tensor:
    """Sample with ``grid_sample``, head by head; places run from 0 to 1 over the image, as the paper has them."""
    batch, channels, height, width = maps[0].shape
    tokens = maps[0].flatten(2).mT
    split = (batch, height, width, layer.heads, len(maps), layer.points)
    offsets, scores = layer.offsets(tokens).view(*split, 2), layer.weights(tokens).view(*split[:4], -1)
    weights = scores.softmax(-1).view(split)
    at = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"), -1).double() + 0.5
    reference = at / torch.tensor([height, width])
    heads = []
    for head in range(layer.heads):
        total = torch.zeros(batch, channels // layer.heads, height, width, dtype=torch.float64)
        for level, x in enumerate(maps):
            own = x.shape[2:]
            values = layer.values[level](x.flatten(2).mT).mT.reshape(batch, layer.heads, -1, *own)[:, head]
            for point in range(layer.points):
                place = reference + offsets[..., head, level, point, :] / torch.tensor(own)
                sampled = F.grid_sample(values, 2 * place.flip(-1) - 1, align_corners=False)
                total = total + weights[..., head, level, point][:, None] * sampled
        heads.append(total)
    return layer.out(torch.cat(heads, 1).flatten(2).mT).mT.reshape(maps[0].shape)


@pytest.mark.parametrize("sizes", [[(8, 12), (4, 6), (2, 3)], [(4, 6), (8, 12)], [(5, 7), (3, 4)], [(1, 1), (13, 9)]])
def test_equals_grid_sample(sizes: list[tuple[int, int]]) -> None:
    channels = [8, 5, 12][: len(sizes)]
    layer = stirred(channels)
    maps = [torch.randn(2, c, *size, dtype=torch.float64) for c, size in zip(channels, sizes, strict=True)]
    close(layer(maps), by_grid_sample(layer, maps))


def test_one_map_is_the_form_on_one_map() -> None:
    ours, single = stirred([8]), DeformableAttention(8, 2, 3).double()
    state = {name.replace("values.0.", "value."): tensor for name, tensor in ours.state_dict().items()}
    single.load_state_dict(state)
    x = torch.randn(2, 8, 5, 7, dtype=torch.float64)
    close(ours([x]), single(x))


def test_without_offsets_samples_each_map_at_the_place_of_the_query() -> None:
    layer = stirred([4, 4], 1, 1)
    for linear in (layer.offsets, layer.weights):
        for parameter in linear.parameters():
            nn.init.zeros_(parameter)
    fine, coarse = torch.randn(1, 4, 3, 5, dtype=torch.float64), torch.randn(1, 4, 9, 15, dtype=torch.float64)
    middle = coarse[..., 1::3, 1::3]  # of three cells, the one in which the middle lies
    values = (layer.values[0](fine.flatten(2).mT) + layer.values[1](middle.flatten(2).mT)) / 2
    close(layer([fine, coarse]), layer.out(values).mT.reshape(fine.shape))


def test_gradients() -> None:
    layer = stirred([4, 3], 2, 1)
    maps = [torch.randn(1, c, *size, dtype=torch.float64, requires_grad=True) for c, size in ((4, (3, 4)), (3, (2, 2)))]
    assert torch.autograd.gradcheck(lambda *given: layer(list(given)), maps)


MODEL = """
nc: 3
depth_multiple: 1.0
width_multiple: 0.25
anchors: [[10, 13, 16, 30]]
backbone: [[-1, 1, Conv, [64, 3, 2]], [-1, 1, Conv, [128, 3, 2]], [-1, 1, Conv, [64, 3, 2]]]
head: [[[1, 2, 0], 1, MultiScaleDeformable, [4, 2]], [[3], 1, Detect, [nc, anchors]]]
"""


def test_it_reads_three_levels_of_a_graph() -> None:
    detector = build(parse_spec(MODEL, "model.yaml")).eval()
    layer = detector.layer(3)
    assert isinstance(layer, MultiScaleDeformable)
    assert (layer.levels, layer.heads, layer.points, layer.out_channels) == (3, 4, 2, 32)
    assert [linear.in_features for linear in layer.values] == [32, 16, 16]
    assert detector(torch.rand(1, 3, 64, 96)).isfinite().all()


def test_refusals() -> None:
    with pytest.raises(RegardError, match="reads no map"):
        MultiScaleDeformable([])
    with pytest.raises(RegardError, match="heads do not share 6 channels"):
        MultiScaleDeformable([6, 8])
    with pytest.raises(RegardError, match="points 0 is too small"):
        MultiScaleDeformable([8], points=0)
