from __future__ import annotations

import copy
import math

import pytest
import torch
from masked import SIZES, close
from torch import Tensor
from torch.nn import functional as F

from regard.errors import RegardError
from regard.nn.attention.routing import RoutingAttention
from regard.nn.attention.self_attention import MultiHeadSelfAttention


def by_clusters(module: RoutingAttention, q: Tensor, k: Tensor) -> Tensor:
    """Return all weights, (B, heads, N, N): plain attention under a mask for each cluster, and their mean."""
    n = q.shape[2]
    w = math.ceil(n / module.clusters)
    sums, times = torch.zeros(*q.shape[:2], n, n, dtype=q.dtype), torch.zeros(*q.shape[:2], n, 1, dtype=q.dtype)
    for head in range(module.num_heads):
        for centroid in module.centroids[head].to(q.dtype):
            for image in range(q.shape[0]):
                a, b = q[image, head], k[image, head]
                took = (F.normalize(a, dim=-1) @ centroid).argsort(descending=True)[:w]
                keys = (F.normalize(b, dim=-1) @ centroid).argsort(descending=True)[:w]
                scores = torch.full((n, n), -torch.inf, dtype=q.dtype)
                scores[:, keys] = a @ b[keys].mT / q.shape[-1] ** 0.5
                sums[image, head, took] += scores.softmax(-1)[took]
                times[image, head, took] += 1
    return sums / times.clamp(min=1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("clusters", [2, 5, 16])
def test_equals_masked_attention_cluster_by_cluster(size: tuple[int, int], clusters: int) -> None:
    module = RoutingAttention(8, 2, clusters).double().eval()
    x = torch.randn(2, 8, *size, dtype=torch.float64)
    q, k, v = module.project(x)
    weights = by_clusters(module, q, k)
    close(module.mix(q, k, v, size), weights @ v)
    for row, column in {(0, 0), (size[0] // 2, size[1] // 3), (size[0] - 1, size[1] - 1)}:
        found = module.attention(x, (row, column)).weights[:, :, 0].flatten(2)
        close(found, weights[:, :, row * size[1] + column])


@pytest.mark.parametrize("size", SIZES)
def test_one_cluster_is_plain_attention(size: tuple[int, int]) -> None:
    plain, ours = MultiHeadSelfAttention(8, 2).double(), RoutingAttention(8, 2, 1).double()
    ours.load_state_dict(plain.state_dict(), strict=False)
    x = torch.randn(2, 8, *size, dtype=torch.float64)
    close(ours(x), plain(x))


def test_rows_sum_to_one_or_belong_to_no_cluster() -> None:
    module, x = RoutingAttention(8, 2, 5), torch.randn(2, 8, 5, 7)
    rows = [module.attention(x, (r, c)).weights.sum((-2, -1)) for r in range(5) for c in range(7)]
    sums = torch.stack(rows)
    assert ((sums - 1).abs().minimum(sums.abs()) < 1e-5).all()
    assert (sums > 0.5).any()
    assert (sums < 0.5).any()


def test_centroids_follow_what_is_nearest_by_hand() -> None:
    module = RoutingAttention(2, 1, 3, decay=0.5).double().train()
    module.centroids.copy_(torch.tensor([[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]]))
    q = torch.tensor([[2.0, 0.0], [0.6, 0.8]], dtype=torch.float64)[None, None]  # nearest: the first, the second
    k = torch.tensor([[0.0, 5.0], [0.8, 0.6]], dtype=torch.float64)[None, None]  # the second, the first
    module.mix(q, k, k, (1, 2))
    first = torch.tensor([0.5 + 0.25 * (1.0 + 0.8), 0.25 * 0.6])
    second = torch.tensor([0.25 * 0.6, 0.5 + 0.25 * (0.8 + 1.0)])
    expected = torch.stack((first / first.norm(), second / second.norm(), torch.tensor([-1.0, 0.0])))
    close(module.centroids[0], expected.double(), 1e-6)


def test_centroids_rest_in_evaluation_and_find_clusters_in_training() -> None:
    module, centres = RoutingAttention(4, 1, 4, decay=0.5), torch.eye(4)
    module.centroids.copy_(F.normalize(torch.eye(4) + 0.4 * torch.rand(4, 4), dim=-1)[None])
    k = (centres[torch.arange(80) % 4] + 0.02 * torch.randn(80, 4))[None, None]
    before = module.centroids.clone()
    module.eval().mix(k, k, k, (8, 10))
    assert torch.equal(module.centroids, before)
    module.train()
    for _ in range(12):
        module.mix(k, k, k, (8, 10))
    close(module.centroids[0], centres, 0.05)


def test_in_training_maps_are_those_of_the_pass_to_come() -> None:
    module, x, place = RoutingAttention(8, 2, 5, decay=0.3).double().train(), torch.randn(2, 8, 5, 7).double(), (2, 3)
    for _ in range(2):
        row, v = module.attention(x, place).weights[:, :, 0].flatten(2), module.project(x)[2]
        mixed = (row[:, :, None] @ v)[:, :, 0].flatten(1)
        close(module(x)[:, :, 2, 3], module.out(mixed))
        assert not torch.equal(module.attention(x, place).weights[:, :, 0].flatten(2), row)


def test_saved_and_copied() -> None:
    module, x = RoutingAttention(16).eval(), torch.randn(2, 16, 5, 9)
    y = module(x)
    assert torch.equal(copy.deepcopy(module)(x), y)
    other = RoutingAttention(16).eval()
    assert not torch.equal(other.centroids, module.centroids)
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(x), y)


def test_an_empty_batch_in_training_moves_nothing() -> None:
    module = RoutingAttention(8, 2, 3).train()
    before = module.centroids.clone()
    module(torch.zeros(0, 8, 3, 5))
    close(module.centroids, before, 1e-6)


def test_rejected_options() -> None:
    with pytest.raises(RegardError, match="clusters 0 is too small"):
        RoutingAttention(8, clusters=0)
    with pytest.raises(RegardError, match=r"decay 1\.5"):
        RoutingAttention(8, decay=1.5)
