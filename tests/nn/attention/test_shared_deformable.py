"""Deformable attention with shared keys: against ``grid_sample``, and against plain attention without offsets."""

from __future__ import annotations

import pytest
import torch
from catalogue import build, some
from masked import close
from torch import Tensor, nn
from torch.nn import functional as F

from regard.errors import RegardError
from regard.nn.attention.self_attention import MultiHeadSelfAttention
from regard.nn.attention.shared_deformable import SharedDeformableAttention


def stirred(**options: float) -> SharedDeformableAttention:
    module = build("SharedDeformableAttention", **{"num_heads": 4, "kernel": 3, **options})
    assert isinstance(module, SharedDeformableAttention)
    nn.init.normal_(module.offsets[2].weight, std=2)  # type: ignore[arg-type]
    return module


def by_grid_sample(module: SharedDeformableAttention, x: Tensor) -> tuple[Tensor, Tensor]:
    """Output and weights of the points, (B, heads, N, n); places run from -1 to 1 over the map, as in the paper."""
    _, c, height, width = x.shape
    groups, reach = module.groups, 2 * module.offset_range
    weight, bias = module.qkv.weight, module.qkv.bias
    q = torch.einsum("oc,bchw->bohw", weight[:c], x) + bias[:c, None, None]
    sampled = []
    for g in range(groups):
        own = slice(g * c // groups, (g + 1) * c // groups)
        moved = module.offsets(q[:, own]).tanh()  # (B, 2, rows, columns)
        down, along = moved.shape[2:]
        rows = ((torch.arange(down).double() + 0.5) * 2 / down - 1)[:, None] + reach / down * moved[:, 0]
        columns = (torch.arange(along).double() + 0.5) * 2 / along - 1 + reach / along * moved[:, 1]
        rows = rows.clamp(1 / height - 1, 1 - 1 / height)
        columns = columns.clamp(1 / width - 1, 1 - 1 / width)
        sampled.append(F.grid_sample(x[:, own], torch.stack((columns, rows), -1), align_corners=False).flatten(2))
    at = torch.cat(sampled, 1)  # (B, C, n)
    k, v = (torch.einsum("oc,bcn->bon", weight, at)[:, c:] + bias[c:, None]).chunk(2, 1)
    heads = module.num_heads
    q, k, v = (t.flatten(2).unflatten(1, (heads, -1)) for t in (q, k, v))
    weights = (q.mT @ k / (c // heads) ** 0.5).softmax(-1)
    mixed = (weights @ v.mT).mT.flatten(1, 2)
    y = torch.einsum("oc,bcn->bon", module.out.weight, mixed) + module.out.bias[:, None]
    return y.view(x.shape), weights


@pytest.mark.parametrize("options", [{}, {"groups": 1, "reduction": 3}, {"groups": 4, "offset_range": 2.5}])
@pytest.mark.parametrize("size", [(5, 7), (8, 4), (1, 1), (1, 6)])
def test_equals_grid_sample(size: tuple[int, int], options: dict[str, float]) -> None:
    module, x = stirred(**options), some(size=size)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    found, (expected, _) = module(ours), by_grid_sample(module, theirs)
    close(found, expected, 1e-11)
    upstream = torch.randn_like(found)
    close(*torch.autograd.grad(found, ours, upstream), *torch.autograd.grad(expected, theirs, upstream), 1e-10)


def test_without_offsets_and_reduction_it_is_plain_attention() -> None:
    module, plain, x = stirred(reduction=1), MultiHeadSelfAttention(16).double(), some()
    nn.init.zeros_(module.offsets[2].weight)  # type: ignore[arg-type]
    plain.load_state_dict({key: value for key, value in module.state_dict().items() if "offsets" not in key})
    close(module(x), plain(x))
    close(module.attention(x, (3, 1)).weights, plain.attention(x, (3, 1)).weights)


def test_the_map_gives_the_output_of_one_group() -> None:
    """Values are sampled before their matrix, which commutes with sampling: W (sum a x) = sum a (W x)."""
    module, x = stirred(groups=1), some()
    v = module.qkv(x.flatten(2).mT)[..., 32:].unflatten(-1, (4, 4)).transpose(1, 2)  # values of positions
    y = module(x)
    for query in ((0, 0), (2, 3), (4, 6)):
        weights = module.attention(x, query).weights
        close(weights.sum((-2, -1)), torch.ones_like(weights[..., 0, 0]))
        mixed = (weights.flatten(3) @ v)[:, :, 0].flatten(1)
        close(module.out(mixed), y[..., query[0], query[1]])


def test_the_map_of_several_groups_is_their_mean() -> None:
    module, x = stirred(groups=2), some()
    weights = module.attention(x, (1, 4)).weights
    close(weights.sum((-2, -1)), torch.ones_like(weights[..., 0, 0]))
    q, k, _, at = module.project_and_place(x)
    of_points = (q[:, :, 11:12] @ k.mT / 2).softmax(-1)
    apart = torch.zeros_like(weights)
    for g in range(2):
        for j in range(of_points.shape[-1]):
            for row in range(5):
                for column in range(7):
                    away = (at[:, g, j] - torch.tensor([row, column])).abs()
                    share = (1 - away).clamp(min=0).prod(-1)
                    apart[:, :, 0, row, column] += of_points[:, :, 0, j] * share[:, None] / 2
    close(weights, apart)


def test_points_move_no_farther_than_their_range_and_stay_on_the_map() -> None:
    module, x = stirred(offset_range=0.5), some(size=(8, 12))
    nn.init.normal_(module.offsets[2].weight, std=50)  # type: ignore[arg-type]
    *_, at = module.project_and_place(x)
    grid = torch.cartesian_prod(torch.arange(4) * 2 + 0.5, torch.arange(6) * 2 + 0.5)
    moved = (at - grid).abs()
    assert moved.max() <= 1 + 1e-9
    assert moved.max() > 0.9
    assert (at >= 0).all()
    assert (at <= torch.tensor([7, 11])).all()


def test_rejected_options() -> None:
    with pytest.raises(RegardError, match="groups 3 does not divide 8 channels"):
        SharedDeformableAttention(8, groups=3)
    with pytest.raises(RegardError, match="reduction 0"):
        SharedDeformableAttention(8, reduction=0)
    with pytest.raises(RegardError, match="offset_range -1"):
        SharedDeformableAttention(8, offset_range=-1)
    with pytest.raises(RegardError, match="cannot use 'rotary'"):
        SharedDeformableAttention(8, pos_embed="rotary")
