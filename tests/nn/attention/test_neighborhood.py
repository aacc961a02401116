from __future__ import annotations

import pytest
import torch
from near import by_loops, global_under_mask

from regard.errors import RegardError
from regard.nn.attention.neighborhood import NeighborhoodAttention
from regard.nn.attention.self_attention import MultiHeadSelfAttention


@pytest.mark.parametrize("kernel", [1, 3, 7, 17])
@pytest.mark.parametrize("positions", ["none", "relative", "log_cpb", "rotary"])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (13, 9), (11, 19)])
def test_is_global_attention_under_its_mask(kernel: int, positions: str, size: tuple[int, int]) -> None:
    block = NeighborhoodAttention(8, 2, kernel, positions).double()
    x = torch.randn(2, 8, *size, dtype=torch.float64)
    torch.testing.assert_close(block(x), global_under_mask(block, x), rtol=0, atol=1e-12)


def test_by_loops_over_the_nearest() -> None:
    block, x = NeighborhoodAttention(8, 2, 3, "relative").double(), torch.randn(2, 8, 5, 11, dtype=torch.float64)
    table = block.position.get_parameter("table")

    def seen(i: int, n: int) -> range:
        nearest = sorted(range(n), key=lambda j: abs(j - i))[:3]
        return range(min(nearest), max(nearest) + 1)

    expected = by_loops(block, x, seen, lambda head, y, x: table[head, y + 2, x + 2])
    torch.testing.assert_close(block(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(1, 1), (2, 23), (4, 5), (13, 9)])
def test_every_query_sees_as_many_keys(size: tuple[int, int]) -> None:
    block = NeighborhoodAttention(8, 2, 5)
    for i in range(size[0]):
        for j in range(size[1]):
            assert block.attention_mask((i, j), size).sum() == min(5, size[0]) * min(5, size[1])


def test_is_plain_attention_where_the_kernel_covers_the_map() -> None:
    plain, x = MultiHeadSelfAttention(8, 2).double(), torch.randn(2, 8, 5, 3, dtype=torch.float64)
    for kernel in (1, 3, 5, 7):
        block = NeighborhoodAttention(8, 2, kernel).double()
        block.load_state_dict(plain.state_dict())
        assert torch.allclose(block(x), plain(x), rtol=0, atol=1e-12) == (kernel >= 5)


def test_an_even_kernel_is_refused() -> None:
    with pytest.raises(RegardError, match="kernel 4 is not odd"):
        NeighborhoodAttention(8, 2, 4)
