from __future__ import annotations

import pytest
import torch
from masked import SIZES, agrees, close, keys_of
from torch.nn import functional as F

from regard.errors import RegardError
from regard.nn.attention.area import AreaAttention
from regard.nn.attention.self_attention import MultiHeadSelfAttention
from regard.nn.counter import forward_without_mixing


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("direction", ["horizontal", "vertical"])
@pytest.mark.parametrize("areas", [2, 3, 4])
def test_equals_plain_attention_under_its_mask(size: tuple[int, int], direction: str, areas: int) -> None:
    agrees(AreaAttention(12, 3, areas, 0, direction), size)


def test_rotary_positions_know_the_map_and_not_the_area() -> None:
    agrees(AreaAttention(16, 2, 3, 0, "vertical", "rotary"), (5, 7))


@pytest.mark.parametrize("direction", ["horizontal", "vertical"])
def test_one_area_is_plain_attention(direction: str) -> None:
    plain, area = MultiHeadSelfAttention(12).double(), AreaAttention(12, areas=1, kernel=0, direction=direction)
    area.double().load_state_dict(plain.state_dict())
    x = torch.randn(2, 12, 7, 5, dtype=torch.float64)
    close(area(x), plain(x))


def test_a_map_that_divides_is_cut_by_a_mere_reshape() -> None:
    plain, area = MultiHeadSelfAttention(12).double(), AreaAttention(12, areas=3, kernel=0).double()
    area.load_state_dict(plain.state_dict())
    x = torch.randn(2, 12, 6, 5, dtype=torch.float64)
    close(area(x), torch.cat([plain(part) for part in x.chunk(3, 2)], 2))


def test_the_keys_by_hand() -> None:
    module = AreaAttention(4, areas=3)  # 7 rows: 3, 3, 1
    assert keys_of(module, (4, 1), (7, 2)) == {(r, c) for r in (3, 4, 5) for c in (0, 1)}
    assert keys_of(module, (6, 0), (7, 2)) == {(6, 0), (6, 1)}
    assert keys_of(AreaAttention(4, areas=2, direction="vertical"), (0, 2), (2, 3)) == {(0, 2), (1, 2)}


def test_the_convolution_sees_the_values_of_the_whole_map() -> None:
    module, x = AreaAttention(6, 2, 2, 3).double(), torch.randn(2, 6, 5, 4, dtype=torch.float64)
    assert module.skip is not None
    value = F.conv2d(x, module.qkv.weight[12:, :, None, None], module.qkv.bias[12:])
    convolved = F.conv2d(value, module.skip.weight, padding=1, groups=6)
    added = F.conv2d(convolved, module.out.weight[:, :, None, None])
    without = AreaAttention(6, 2, 2, 0).double()
    without.load_state_dict({k: t for k, t in module.state_dict().items() if "skip" not in k})
    close(module(x), without(x) + added)
    close(
        forward_without_mixing(module, x),
        F.conv2d(value + convolved, module.out.weight[:, :, None, None], module.out.bias),
    )


def test_rejected_options() -> None:
    with pytest.raises(RegardError, match="kernel 4 is not odd"):
        AreaAttention(8, kernel=4)
    with pytest.raises(RegardError, match="did you mean 'vertical'"):
        AreaAttention(8, direction="vertcal")
    with pytest.raises(RegardError, match="areas 0 is too small"):
        AreaAttention(8, areas=0)
