from __future__ import annotations

import pytest
import torch
from masked import SIZES, agrees, close, keys_of, under_mask
from torch import nn

from regard.errors import RegardError
from regard.nn.attention.axial import AlongAxis, AxialAttention
from regard.nn.attention.self_attention import MultiHeadSelfAttention


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("axis", ["row", "column"])
def test_a_layer_equals_plain_attention_under_its_mask(size: tuple[int, int], axis: str) -> None:
    agrees(AlongAxis(12, 3, axis), size)
    agrees(AlongAxis(16, 2, axis, "rotary"), size)


def test_both_layers_under_their_masks() -> None:
    module, x = AxialAttention(12, 3).double(), torch.randn(2, 12, 7, 5, dtype=torch.float64)
    row, column = (torch.arange(35) // 5, torch.arange(35) % 5)
    after_rows = under_mask(module.rows, x, row[:, None] == row)
    close(module(x), under_mask(module.columns, after_rows, column[:, None] == column))


def test_a_layer_is_torch_attention_on_every_line() -> None:
    ours, x = AlongAxis(12, 3, "column").double(), torch.randn(2, 12, 7, 5, dtype=torch.float64)
    peer = nn.MultiheadAttention(12, 3, batch_first=True).double()
    peer.load_state_dict(
        {
            "in_proj_weight": ours.qkv.weight,
            "in_proj_bias": ours.qkv.bias,
            "out_proj.weight": ours.out.weight,
            "out_proj.bias": ours.out.bias,
        }
    )
    for column in range(5):
        line = x[..., column].transpose(1, 2)
        close(ours(x)[..., column].transpose(1, 2), peer(line, line, line)[0])


def test_one_line_is_plain_attention() -> None:
    plain, ours = MultiHeadSelfAttention(12).double(), AlongAxis(12).double()
    ours.load_state_dict(plain.state_dict())
    x = torch.randn(2, 12, 1, 7, dtype=torch.float64)
    close(ours(x), plain(x))


def test_the_keys_by_hand() -> None:
    assert keys_of(AlongAxis(4), (1, 2), (3, 4)) == {(1, c) for c in range(4)}
    assert keys_of(AlongAxis(4, axis="column"), (1, 2), (3, 4)) == {(r, 2) for r in range(3)}


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3)])
def test_the_map_is_how_output_depends_on_values_through_both_layers(size: tuple[int, int]) -> None:
    """With W_o of both layers and W_v of the second the identity, and one head, the map contains all of the mixing."""
    module, x = AxialAttention(6, 1).double(), torch.randn(2, 6, *size, dtype=torch.float64)
    with torch.no_grad():
        for layer in (module.rows, module.columns):
            layer.out.weight.copy_(torch.eye(6))
            layer.out.bias.zero_()
        module.columns.qkv.weight[12:] = torch.eye(6)
        module.columns.qkv.bias[12:] = 0
    _, _, values = module.rows.project(x)
    query = (size[0] // 2, size[1] - 1)
    weights = module.attention(x, query).weights
    expected = (weights.flatten(3) @ values)[:, 0, 0]
    close(module(x)[:, :, query[0], query[1]], expected)


def test_the_map_is_a_product_of_columns_and_the_mean_of_rows() -> None:
    module, x = AxialAttention(8, 2).double(), torch.randn(1, 8, 4, 3, dtype=torch.float64)
    found = module.attention(x, (1, 2)).weights[0, :, 0]
    down = module.columns.attention(module.rows(x), (1, 2)).weights[0, :, 0, :, 2]
    for r in range(4):
        across = module.rows.attention(x, (r, 2)).weights[0, :, 0, r].mean(0)
        close(found[:, r], down[:, r, None] * across)


def test_rejected_options() -> None:
    with pytest.raises(RegardError, match="did you mean 'column'"):
        AlongAxis(4, axis="colum")
    with pytest.raises(RegardError, match="cannot use 'relative'"):
        AxialAttention(4, pos_embed="relative")
