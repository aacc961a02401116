from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from regard.errors import RegardError
from regard.nn.attention.tokens import from_patches, merge_heads, split_heads, to_map, to_patches, to_tokens


def test_tokens_stand_in_reading_order() -> None:
    x = torch.randn(2, 3, 5, 7)
    tokens = to_tokens(x)
    assert tokens.shape == (2, 35, 3)
    for row in range(5):
        for column in range(7):
            assert torch.equal(tokens[:, row * 7 + column], x[:, :, row, column])
    assert tokens.data_ptr() == x.data_ptr()
    assert torch.equal(to_map(tokens, (5, 7)), x)


def test_patches_by_hand() -> None:
    # one channel counts up, the other down; patches of 2 x 2 on a map of 2 x 4
    up = torch.arange(8.0).view(1, 1, 2, 4)
    patches = to_patches(torch.cat((up, -up), 1), 2)
    assert patches.tolist() == [[[0, 1, 4, 5, 0, -1, -4, -5], [2, 3, 6, 7, -2, -3, -6, -7]]]


@pytest.mark.parametrize(("patch", "size"), [(1, (5, 7)), (2, (6, 10)), (3, (9, 3)), (5, (5, 5))])
def test_patches_and_back(patch: int, size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size)
    patches = to_patches(x, patch)
    assert patches.shape == (2, size[0] * size[1] // patch**2, 3 * patch**2)
    assert torch.equal(from_patches(patches, size, patch), x)


def test_a_linear_layer_on_patches_is_a_convolution_of_stride_p() -> None:
    x, weight = torch.randn(2, 3, 6, 9, dtype=torch.float64), torch.randn(5, 3, 3, 3, dtype=torch.float64)
    linear = to_patches(x, 3) @ weight.flatten(1).T
    torch.testing.assert_close(to_map(linear, (2, 3)), F.conv2d(x, weight, stride=3), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("patch", "size"), [(2, (3, 4)), (2, (4, 3)), (0, (4, 4)), (-1, (4, 4)), (5, (4, 4))])
def test_patches_that_do_not_tile_are_refused(patch: int, size: tuple[int, int]) -> None:
    with pytest.raises(RegardError, match=f"patches of {patch} x {patch} do not tile a map of {size[0]} x {size[1]}"):
        to_patches(torch.zeros(1, 1, *size), patch)


def test_heads_share_out_the_channels_in_order() -> None:
    tokens = torch.randn(2, 7, 15)
    heads = split_heads(tokens, 3)
    assert heads.shape == (2, 3, 7, 5)
    assert all(torch.equal(heads[:, h], tokens[:, :, 5 * h : 5 * h + 5]) for h in range(3))
    assert heads.stride(-1) == 1
    assert torch.equal(merge_heads(heads), tokens)


@pytest.mark.parametrize("batch", [0, 1])
def test_empty_batches_keep_their_shape(batch: int) -> None:
    x = torch.zeros(batch, 6, 4, 2)
    assert to_map(to_tokens(x), (4, 2)).shape == x.shape
    assert merge_heads(split_heads(to_tokens(x), 3)).shape == (batch, 8, 6)
