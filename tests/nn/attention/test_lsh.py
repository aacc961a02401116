from __future__ import annotations

import copy

import pytest
import torch
from masked import SIZES, close, under_mask
from torch import Tensor
from torch.nn import functional as F

from regard.errors import RegardError
from regard.nn.attention.core import merge_heads, to_map
from regard.nn.attention.lsh import LSHAttention


def seen_by_sorting(module: LSHAttention, x: Tensor) -> Tensor:
    """Return who sees whom, (B, heads, N, N), as defined: sort, cut, look at one's own stretch and the last."""
    _, k, _ = module.project(x)
    batch, heads, n, _ = k.shape
    seen = torch.zeros(batch, heads, n, n, dtype=torch.bool)
    for rotation in module.rotations.to(k.dtype):
        for image in range(batch):
            for head in range(heads):
                turned = k[image, head] @ rotation
                buckets = torch.cat((turned, -turned), -1).argmax(-1).tolist()
                order = [i for _, i in sorted(zip(buckets, range(n), strict=True))]
                for place, i in enumerate(order):
                    start = (place // module.chunk_size - 1) * module.chunk_size
                    for j in order[max(0, start) : start + 2 * module.chunk_size]:
                        if buckets[j] == buckets[i]:
                            seen[image, head, i, j] = True
    return seen


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("buckets", "rounds", "stretch"), [(4, 1, 5), (2, 3, 16), (8, 2, 64), (6, 2, 1)])
def test_equals_plain_attention_under_the_mask_of_its_hashes(
    size: tuple[int, int], buckets: int, rounds: int, stretch: int
) -> None:
    module = LSHAttention(8, 2, buckets, rounds, stretch).double()
    x = torch.randn(2, 8, *size, dtype=torch.float64)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    mask = seen_by_sorting(module, x)
    found, expected = module(ours), under_mask(module, theirs, mask)
    close(found, expected)
    upstream = torch.randn_like(found)
    close(*torch.autograd.grad(found, ours, upstream), *torch.autograd.grad(expected, theirs, upstream), 1e-11)
    for row, column in {(0, 0), (size[0] - 1, size[1] // 2)}:
        weights = module.attention(x, (row, column)).weights[:, :, 0].flatten(2)
        assert torch.equal(weights > 0, mask[:, :, row * size[1] + column])


@pytest.mark.parametrize("size", SIZES)
def test_one_bucket_is_plain_attention(size: tuple[int, int]) -> None:
    module = LSHAttention(8, 2, buckets=1, chunk_size=4).double()
    x = torch.randn(2, 8, *size, dtype=torch.float64)
    q, v = (layer(x.flatten(2).mT).unflatten(-1, (2, 4)).transpose(1, 2) for layer in (module.query, module.value))
    mixed = F.scaled_dot_product_attention(q, q / q.norm(dim=-1, keepdim=True), v)
    close(module(x), to_map(module.out(merge_heads(mixed)), size))


def test_a_stretch_over_the_map_leaves_only_the_buckets() -> None:
    module, x = LSHAttention(8, 2, 4, 1, chunk_size=99).double(), torch.randn(1, 8, 5, 7, dtype=torch.float64)
    k = module.project(x)[1]
    turned = k @ module.rotations[0].double()
    bucket = torch.cat((turned, -turned), -1).argmax(-1)
    close(module(x), under_mask(module, x, bucket[..., None] == bucket[..., None, :]))


def test_near_vectors_share_a_bucket_and_opposite_ones_never_do() -> None:
    module = LSHAttention(64, 1, buckets=8, rounds=40)
    a = F.normalize(torch.randn(1, 1, 50, 64), dim=-1)
    near = F.normalize(a + 0.01 * torch.randn_like(a), dim=-1)

    def buckets(x: Tensor) -> Tensor:
        turned = x @ module.rotations[:, None, None]
        return torch.cat((turned, -turned), -1).argmax(-1)

    assert (buckets(a) == buckets(near)).float().mean() > 0.9
    assert not (buckets(a) == buckets(-a)).any()
    assert torch.equal(buckets(a), buckets(3 * a))


def test_drawn_once_saved_and_copied() -> None:
    module, x = LSHAttention(16, chunk_size=4), torch.randn(2, 16, 5, 9)
    y = module(x)
    assert torch.equal(copy.deepcopy(module)(x), y)
    other = LSHAttention(16, chunk_size=4)
    assert not torch.equal(other.rotations, module.rotations)
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(x), y)
    assert not any(p is module.rotations for p in module.parameters())


def test_rejected_options() -> None:
    with pytest.raises(RegardError, match="LSHAttention: 5 buckets"):
        LSHAttention(8, buckets=5)
    with pytest.raises(RegardError, match="rounds 0 is too small"):
        LSHAttention(8, rounds=0)
    with pytest.raises(RegardError, match="chunk_size 0 is too small"):
        LSHAttention(8, chunk_size=0)
