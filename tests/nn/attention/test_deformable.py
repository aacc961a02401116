from __future__ import annotations

import pytest
import torch
from masked import close
from torch import Tensor, nn
from torch.nn import functional as F

from regard.errors import RegardError
from regard.nn.attention.deformable import DeformableAttention, initial_offsets

SIZES = [(1, 1), (1, 7), (13, 9), (6, 17)]


def stirred(channels: int = 8, heads: int = 2, points: int = 3) -> DeformableAttention:
    module = DeformableAttention(channels, heads, points).double()
    for layer in (module.offsets, module.weights):
        nn.init.normal_(layer.weight, std=0.5)
        nn.init.normal_(layer.bias)
    return module


def by_grid_sample(module: DeformableAttention, x: Tensor) -> Tensor:
    """Sample head by head and point by point with ``grid_sample``, whose places run from -1 to 1 over the map."""
    batch, _, height, width = x.shape
    tokens = x.flatten(2).mT
    values = module.value(tokens).mT.reshape(batch, module.num_heads, -1, height, width)
    offsets = module.offsets(tokens).view(batch, height, width, module.num_heads, module.points, 2)
    weights = module.weights(tokens).view(batch, height, width, module.num_heads, module.points).softmax(-1)
    at = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"), -1)
    mixed = []
    for head in range(module.num_heads):
        total = torch.zeros_like(values[:, head])
        for point in range(module.points):
            rows, columns = (at + offsets[..., head, point, :]).unbind(-1)
            grid = torch.stack(((2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1), -1)
            sampled = F.grid_sample(values[:, head], grid, align_corners=False)
            total = total + weights[..., head, point][:, None] * sampled
        mixed.append(total)
    return module.out(torch.cat(mixed, 1).flatten(2).mT).mT.reshape(x.shape)


@pytest.mark.parametrize("size", SIZES)
def test_equals_grid_sample(size: tuple[int, int]) -> None:
    module, x = stirred(), torch.randn(2, 8, *size, dtype=torch.float64)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    found, expected = module(ours), by_grid_sample(module, theirs)
    close(found, expected)
    upstream = torch.randn_like(found)
    close(*torch.autograd.grad(found, ours, upstream), *torch.autograd.grad(expected, theirs, upstream), 1e-11)
    close(module.float()(x.float()), expected.float(), 1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_without_offsets_samples_at_the_reference_points(size: tuple[int, int]) -> None:
    module, x = stirred(), torch.randn(2, 8, *size, dtype=torch.float64)
    for parameter in module.offsets.parameters():
        nn.init.zeros_(parameter)
    pointwise = module.out(module.value(x.flatten(2).mT)).mT.reshape(x.shape)
    close(module(x), pointwise)
    weights = module.attention(x, (0, size[1] - 1)).weights
    assert torch.equal(weights.nonzero()[:, 3:].unique(dim=0), torch.tensor([[0, size[1] - 1]]))


@pytest.mark.parametrize("size", SIZES)
def test_the_map_gives_the_output(size: tuple[int, int]) -> None:
    module, x = stirred(), torch.randn(2, 8, *size, dtype=torch.float64)
    v = module.value(x.flatten(2).mT).unflatten(-1, (2, 4)).transpose(1, 2)
    y = module(x)
    for query in {(0, 0), (size[0] // 2, size[1] // 3), (size[0] - 1, size[1] - 1)}:
        weights = module.attention(x, query).weights[:, :, 0].flatten(2)
        assert (weights.sum(-1) <= 1 + 1e-12).all()
        assert (weights >= 0).all()
        mixed = (weights[:, :, None] @ v)[:, :, 0].flatten(1)
        close(module.out(mixed), y[..., query[0], query[1]])


def test_the_first_points_by_hand() -> None:
    expected = [[[0, 1], [0, 2]], [[1, 0], [2, 0]], [[0, -1], [0, -2]], [[-1, 0], [-2, 0]]]
    close(initial_offsets(4, 2), torch.tensor(expected).float(), 1e-6)
    assert initial_offsets(8, 3)[1].allclose(torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]))
    weights = DeformableAttention(8, 4, 2).attention(torch.randn(1, 8, 5, 7), (1, 5)).weights[0, :, 0]
    assert weights[0, 1].tolist() == pytest.approx([0, 0, 0, 0, 0, 0, 0.5], abs=1e-5)  # the other point is outside
    assert weights[1, :, 5].tolist() == pytest.approx([0, 0, 0.5, 0.5, 0], abs=1e-5)


def test_half_way_between_two_positions_is_their_mean() -> None:
    module, x = DeformableAttention(4, 1, 1), torch.randn(1, 4, 3, 5)
    with torch.no_grad():
        module.offsets.bias.copy_(torch.tensor([0.0, 0.5]))
    weights = module.attention(x, (1, 2)).weights[0, 0, 0]
    assert weights[1].tolist() == [0, 0, 0.5, 0.5, 0]
    assert module.attention(x, (1, 4)).weights.sum() == 0.5  # half of the point is outside


def test_rejected_options() -> None:
    with pytest.raises(RegardError, match="points 0 is too small"):
        DeformableAttention(8, points=0)
    with pytest.raises(RegardError, match="num_heads 3 does not divide 8 channels"):
        DeformableAttention(8, 3)
