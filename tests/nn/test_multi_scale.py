"""Deformable attention over several maps: against ``grid_sample``, and against its form on one map."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import regard
from counting import products
from regard.errors import RegardError
from regard.graph.build import build
from regard.graph.read import parse_spec
from regard.nn.attention.deformable import DeformableAttention
from regard.nn.counter import count, forward_without_mixing
from regard.nn.multi_scale import MultiScaleDeformable, overlaps
from regard.types import AttentionMap
from regard.visualize.attend import attention_layers


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
    split = (batch, height, width, layer.num_heads, len(maps), layer.points)
    offsets, scores = layer.offsets(tokens).view(*split, 2), layer.weights(tokens).view(*split[:4], -1)
    weights = scores.softmax(-1).view(split)
    at = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"), -1).double() + 0.5
    reference = at / torch.tensor([height, width])
    heads = []
    for head in range(layer.num_heads):
        total = torch.zeros(batch, channels // layer.num_heads, height, width, dtype=torch.float64)
        for level, x in enumerate(maps):
            own = x.shape[2:]
            values = layer.values[level](x.flatten(2).mT).mT.reshape(batch, layer.num_heads, -1, *own)[:, head]
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


def some_maps(*sizes: tuple[int, int], batch: int = 3) -> list[Tensor]:
    """Return a map of 8, of 5 and of 12 channels, as many as there are sizes."""
    return [torch.randn(batch, c, *size, dtype=torch.float64) for c, size in zip((8, 5, 12), sizes, strict=False)]


def test_images_of_a_batch_are_independent() -> None:
    layer, maps = stirred([8, 5, 12]), some_maps((9, 7), (5, 3), (2, 2))
    y = layer(maps)
    for i in range(3):
        close(layer([x[i : i + 1] for x in maps]), y[i : i + 1])
    assert (y[0] - y[1]).abs().max() > 1e-6
    assert layer([x[:0] for x in maps]).shape == (0, 8, 9, 7)


def test_levels_may_come_in_any_order_if_what_is_learned_follows() -> None:
    """All but the first, whose positions ask: the sum runs over levels, and the softmax over all of their points."""
    layer, other = stirred([8, 5, 12]), MultiScaleDeformable([8, 12, 5], 2, 3).double()
    order, maps = [0, 2, 1], some_maps((9, 7), (5, 3), (2, 2))
    with torch.no_grad():
        for ours, theirs in ((layer.offsets, other.offsets), (layer.weights, other.weights)):
            for mine, its in zip(ours.parameters(), theirs.parameters(), strict=True):
                its.copy_(mine.unflatten(0, (2, 3, -1))[:, order].reshape(mine.shape))
    other.values = nn.ModuleList(layer.values[i] for i in order)
    other.out = layer.out
    close(other([maps[i] for i in order]), layer(maps))


@pytest.mark.parametrize("sizes", [[(8, 12), (4, 6), (2, 3)], [(5, 7), (3, 4)], [(4, 3), (8, 6)], [(1, 1), (13, 9)]])
def test_the_map_gives_the_output(sizes: list[tuple[int, int]]) -> None:
    maps = some_maps(*sizes)
    layer = stirred([x.shape[1] for x in maps])
    y, (height, width) = layer(maps), sizes[0]
    finest = max(sizes)
    for query in {(0, 0), (height // 2, width // 3), (height - 1, width - 1)}:
        mixed = torch.zeros(3, 2, 4, dtype=torch.float64)
        levels = layer.on_levels(maps, query)
        for x, weights, value in zip(maps, levels, layer.values, strict=True):
            assert weights.shape == (3, 2, 1, *x.shape[2:])
            assert (weights >= 0).all()
            v = value(x.flatten(2).mT).unflatten(-1, (2, 4)).transpose(1, 2)
            mixed += (weights.flatten(3) @ v)[:, :, 0]
        close(layer.out(mixed.flatten(1)), y[..., query[0], query[1]])
        found = layer.attention(maps, query)
        assert found.kind == "rows"
        assert found.queries == (query,)
        assert found.weights.shape == (3, 2, 1, *finest)
        close(found.weights.sum((-2, -1)), torch.stack([w.sum((-2, -1)) for w in levels]).sum(0))
    assert layer.attention(maps).queries == ((height // 2, width // 2),)


def test_a_coarse_cell_is_spread_over_its_place_on_the_finest_map() -> None:
    layer = MultiScaleDeformable([4, 4], 1, 1)
    with torch.no_grad():
        layer.weights.bias.copy_(torch.tensor([-100.0, 0.0]))  # the coarse map alone
        layer.offsets.bias.copy_(torch.tensor([0.0, 0.0, -0.25, -0.25]))  # onto the middle of its first cell
    found = layer.attention([torch.randn(1, 4, 4, 6), torch.randn(1, 4, 2, 3)], (1, 1)).weights[0, 0, 0]
    expected = torch.zeros(4, 6)
    expected[:2, :2] = 0.25
    torch.testing.assert_close(found, expected)


def test_parts_of_stretches_by_hand() -> None:
    third = [[2 / 3, 0], [1 / 3, 1 / 3], [0, 2 / 3]]  # two halves of a line, each in three thirds
    close(overlaps(3, 2, torch.zeros(0).double()), torch.tensor(third, dtype=torch.float64))
    close(overlaps(2, 3, torch.zeros(0).double()), torch.tensor([[1, 0.5, 0], [0, 0.5, 1]]).double())
    close(overlaps(4, 4, torch.zeros(0).double()), torch.eye(4).double())


def test_a_query_outside_is_rejected() -> None:
    with pytest.raises(RegardError, match=r"query \(4, 0\) lies outside the map"):
        stirred([8, 5]).attention(some_maps((4, 6), (8, 12)), (4, 0))


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
    assert (layer.levels, layer.num_heads, layer.points, layer.out_channels) == (3, 4, 2, 32)
    assert [linear.in_features for linear in layer.values] == [32, 16, 16]
    assert all(x.isfinite().all() for x in detector(torch.rand(1, 3, 64, 96)))


def test_an_image_looks_a_query_up_on_the_first_map() -> None:
    torch.manual_seed(0)
    detector = build(parse_spec(MODEL, "model.yaml"))
    name = detector.spec.layers[3].name
    assert [(entry.name, entry.module) for entry in attention_layers(detector)] == [(name, "MultiScaleDeformable")]
    image = np.random.default_rng(1).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    view = regard.attend(detector, image, layer=name, query=(95, 1), imgsz=96)
    assert isinstance(view.map, AttentionMap)
    assert view.map.queries == ((0, 23),)  # the first of 16 x 24, of stride 4
    assert view.map.weights.shape == (1, 4, 1, 32, 48)  # on the finest, of stride 2
    assert view.title == f"{name}  (MultiScaleDeformable, 32 x 48 positions), query at 95, 1"


def test_without_mixing_the_values_of_the_first_map_are_passed_on() -> None:
    layer, maps = stirred([8, 5]), some_maps((4, 6), (2, 3))
    close(forward_without_mixing(layer, maps), layer.out(layer.values[0](maps[0].flatten(2).mT)).mT.view(maps[0].shape))
    gone = products(lambda: layer(maps)) - products(lambda: forward_without_mixing(layer, maps))
    assert count(layer, maps).mixing_flops == gone


def test_its_bound_is_reported() -> None:
    detector = build(parse_spec(MODEL, "model.yaml")).eval()
    report = regard.cost(detector, imgsz=64, repeats=2)
    assert [bound.row for bound in report.bounds] == [detector.spec.layers[3].name]
    assert report.bounds[0].by_flops > 1.1


def test_rejected_options() -> None:
    with pytest.raises(RegardError, match="reads no map"):
        MultiScaleDeformable([])
    with pytest.raises(RegardError, match="num_heads 4 does not divide 6 channels"):
        MultiScaleDeformable([6, 8])
    with pytest.raises(RegardError, match="points 0 is too small"):
        MultiScaleDeformable([8], points=0)
