from __future__ import annotations

import pytest
import torch
from masked import SIZES, close
from torch import Tensor

from regard.errors import RegardError
from regard.nn.attention.self_attention import MultiHeadSelfAttention
from regard.nn.attention.sinkhorn import SinkhornAttention, sinkhorn


def test_rows_and_columns_sum_to_one() -> None:
    scores = 3 * torch.randn(2, 3, 7, 7, dtype=torch.float64)
    matrix = sinkhorn(scores, 400)
    close(matrix.sum(-1), torch.ones(2, 3, 7, dtype=torch.float64))
    close(matrix.sum(-2), torch.ones(2, 3, 7, dtype=torch.float64), 1e-9)
    few = sinkhorn(scores, 8)
    close(few.sum(-1), torch.ones(2, 3, 7, dtype=torch.float64))
    assert (few.sum(-2) - 1).abs().max() < 0.1  # as far as eight iterations come
    assert (few >= 0).all()


def test_two_by_two_by_hand() -> None:
    """A doubly stochastic 2 x 2 matrix is [[p, 1 - p], [1 - p, p]], and scaling keeps a d / (b c) = (p / (1 - p))^2."""
    matrix = sinkhorn(torch.tensor([[4.0, 1.0], [1.0, 1.0]], dtype=torch.float64).log(), 200)
    close(matrix, torch.tensor([[2, 1], [1, 2]], dtype=torch.float64) / 3, 1e-9)


def test_a_low_temperature_gives_a_permutation() -> None:
    order = torch.tensor([2, 0, 3, 1])
    scores = torch.full((4, 4), 0.1).scatter(1, order[:, None], 0.9).double()
    close(sinkhorn(scores / 0.01, 20), torch.eye(4, dtype=torch.float64)[order], 1e-9)


def by_blocks(module: SinkhornAttention, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mixed values (B, heads, N, d) and all implied weights, query by query and slot by slot."""
    height, width = size = x.shape[2], x.shape[3]
    q, k, v = (t.unflatten(2, size) for t in module.project(x))
    w = module.window
    corners = [(r, c) for r in range(0, height, w) for c in range(0, width, w)]
    cut = [(slice(r, r + w), slice(c, c + w)) for r, c in corners]
    q_means, k_means = (torch.stack([t[:, :, r, c].mean((2, 3)) for r, c in cut], 2) for t in (q, k))
    matrix = sinkhorn(q_means @ k_means.mT / q.shape[-1] ** 0.5 / module.temperature, module.iterations)
    weights = x.new_zeros(*q.shape[:2], height, width, height, width)
    slots = [(i, j) for i in range(w) for j in range(w)]
    for block, (r, c) in enumerate(cut):
        mixtures, mixed_keys = [], []
        for i, j in slots:
            share = x.new_zeros(*q.shape[:2], height, width)
            for other, (y, z) in enumerate(corners):
                if y + i < height and z + j < width:
                    share[:, :, y + i, z + j] = matrix[:, :, block, other]
            if share.any():
                mixtures.append(share / share.sum((2, 3), keepdim=True))
                mixed_keys.append(torch.einsum("bhyz,bhyzd->bhd", mixtures[-1], k))
        own = [(i, j) for i in range(height)[r] for j in range(width)[c]]
        keys = torch.stack([*(k[:, :, i, j] for i, j in own), *mixed_keys], 2)
        for i, j in own:
            p = (torch.einsum("bhd,bhnd->bhn", q[:, :, i, j], keys) / q.shape[-1] ** 0.5).softmax(-1)
            for n, at in enumerate(own):
                weights[:, :, i, j, at[0], at[1]] += p[..., n]
            for n, mixture in enumerate(mixtures):
                weights[:, :, i, j] += p[..., len(own) + n, None, None] * mixture
    return torch.einsum("bhijyz,bhyzd->bhijd", weights, v).flatten(2, 3), weights


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 8), (6, 6), (7, 2)])
@pytest.mark.parametrize("window", [2, 3])
def test_equals_explicit_sorting_block_by_block(size: tuple[int, int], window: int) -> None:
    module = SinkhornAttention(8, 2, window).double()
    x = 3 * torch.randn(2, 8, *size, dtype=torch.float64)
    mixed, weights = by_blocks(module, x)
    close(module.mix(*module.project(x), size), mixed)
    for query in {(0, 0), (size[0] - 1, size[1] - 1), (size[0] // 2, size[1] // 2)}:
        close(module.attention(x, query).weights[:, :, 0], weights[:, :, query[0], query[1]])


@pytest.mark.parametrize("size", SIZES)
def test_one_window_is_plain_attention(size: tuple[int, int]) -> None:
    """It is sorted to itself, so that every key stands twice, which no softmax with a sum of 1 can tell."""
    plain, ours = MultiHeadSelfAttention(8, 2).double(), SinkhornAttention(8, 2, 17).double()
    ours.load_state_dict(plain.state_dict())
    x = torch.randn(2, 8, *size, dtype=torch.float64)
    close(ours(x), plain(x))


def test_equal_blocks_are_sorted_to_themselves_and_others_alike() -> None:
    module, x = SinkhornAttention(8, 2, 2).double(), torch.randn(1, 8, 2, 2, dtype=torch.float64)
    close(module(x.repeat(1, 1, 3, 2)), module(x).repeat(1, 1, 3, 2))


def test_rejected_options() -> None:
    with pytest.raises(RegardError, match="temperature 0 is not positive"):
        SinkhornAttention(8, temperature=0)
    with pytest.raises(RegardError, match="iterations 0 is too small"):
        SinkhornAttention(8, iterations=0)
    with pytest.raises(RegardError, match="window 0 is too small"):
        SinkhornAttention(8, window=0)
