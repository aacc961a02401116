from __future__ import annotations

import pytest
import torch
from catalogue import Operators
from masked import SIZES, agrees, close, keys_of
from near import by_loops, global_under_mask

from regard.errors import RegardError
from regard.nn.attention.self_attention import MultiHeadSelfAttention
from regard.nn.attention.sliding import DilatedNeighborhoodAttention, LocalAttention, NeighborhoodAttention


@pytest.mark.parametrize("window", [1, 3, 7, 17])
@pytest.mark.parametrize("positions", ["none", "relative", "log_cpb", "rotary"])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (13, 9), (11, 19)])
def test_is_global_attention_under_its_mask(window: int, positions: str, size: tuple[int, int]) -> None:
    block = LocalAttention(8, 2, window, positions).double()
    x = torch.randn(2, 8, *size, dtype=torch.float64)
    torch.testing.assert_close(block(x), global_under_mask(block, x), rtol=0, atol=1e-12)


def test_by_loops_over_the_square() -> None:
    block, x = LocalAttention(8, 2, 3, "relative").double(), torch.randn(2, 8, 5, 11, dtype=torch.float64)
    table = block.position.get_parameter("table")

    def seen(i: int, n: int) -> range:
        return range(max(0, i - 1), min(n, i + 2))

    expected = by_loops(block, x, seen, lambda head, y, x: table[head, y + 1, x + 1])
    torch.testing.assert_close(block(x), expected, rtol=0, atol=1e-12)


def test_grows_from_the_query_alone_to_plain_attention() -> None:
    plain, x = MultiHeadSelfAttention(8, 2).double(), torch.randn(2, 8, 5, 3, dtype=torch.float64)
    seen = []
    for window in (1, 3, 5, 7, 9, 11):
        block = LocalAttention(8, 2, window).double()
        block.load_state_dict(plain.state_dict())
        seen.append(int(block.attention_mask((0, 0), (5, 3)).sum()))
        alike = torch.allclose(block(x), plain(x), rtol=0, atol=1e-12)
        assert alike == (window >= 2 * 5 - 1)
    assert seen == [1, 4, 9, 12, 15, 15]
    alone = LocalAttention(8, 2, 1).double()
    _, _, v = alone.project(x)
    torch.testing.assert_close(alone(x).flatten(2), alone.out(v.transpose(1, 2).flatten(2)).transpose(1, 2))


def test_an_even_window_is_rejected() -> None:
    with pytest.raises(RegardError, match="window 6 is not odd") as error:
        LocalAttention(8, 2, 6)
    assert "the nearest is 7" in str(error.value)


def test_no_tensor_is_quadratic() -> None:
    block, operators = LocalAttention(8, 2, 3).eval(), Operators()
    with torch.no_grad(), operators:
        block(torch.randn(1, 8, 64, 64))
    assert operators.largest <= 64 * 64 * (8 + 2) ** 2  # a mask, of the keys of a tile for each query


@pytest.mark.parametrize("kernel", [1, 3, 7, 17])
@pytest.mark.parametrize("positions", ["none", "relative", "log_cpb", "rotary"])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (13, 9), (11, 19)])
def test_is_global_attention_under_its_mask_of_neighborhood(kernel: int, positions: str, size: tuple[int, int]) -> None:
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


def test_an_even_kernel_is_rejected() -> None:
    with pytest.raises(RegardError, match="kernel 4 is not odd"):
        NeighborhoodAttention(8, 2, 4)


@pytest.mark.parametrize("size", [*SIZES, (23, 11)])
@pytest.mark.parametrize(("kernel", "dilation"), [(1, 2), (3, 2), (5, 3), (7, 2), (3, 17)])
def test_equals_plain_attention_under_its_mask(size: tuple[int, int], kernel: int, dilation: int) -> None:
    agrees(DilatedNeighborhoodAttention(8, 2, kernel, dilation), size)


@pytest.mark.parametrize("positions", ["relative", "log_cpb", "rotary"])
def test_positions_know_the_map_and_not_the_tile(positions: str) -> None:
    block = DilatedNeighborhoodAttention(8, 2, 3, 2, positions).double()
    x = torch.randn(2, 8, 11, 19, dtype=torch.float64)
    torch.testing.assert_close(block(x), global_under_mask(block, x), rtol=0, atol=1e-12)


def test_by_loops_over_the_nearest_of_every_third() -> None:
    block = DilatedNeighborhoodAttention(8, 2, 3, 3, "relative").double()
    x = torch.randn(2, 8, 13, 11, dtype=torch.float64)
    table = block.position.get_parameter("table")
    assert table.shape == (2, 5, 5)

    def seen(i: int, n: int) -> range:
        nearest = sorted(range(i % 3, n, 3), key=lambda j: abs(j - i))[:3]
        return range(min(nearest), max(nearest) + 1, 3)

    expected = by_loops(block, x, seen, lambda head, y, x: table[head, y // 3 + 2, x // 3 + 2])
    torch.testing.assert_close(block(x), expected, rtol=0, atol=1e-12)


def test_is_neighborhood_attention_on_each_interleaved_map() -> None:
    near, dilated = (kind(8, 2, 5).double() for kind in (NeighborhoodAttention, DilatedNeighborhoodAttention))
    dilated.load_state_dict(near.state_dict())
    x = torch.randn(2, 8, 17, 14, dtype=torch.float64)
    found = dilated(x)
    for row in range(2):
        for column in range(2):
            close(found[..., row::2, column::2], near(x[..., row::2, column::2]))


def test_without_dilation_is_neighborhood_attention() -> None:
    near, dilated = (
        NeighborhoodAttention(8, 2, 5, "relative").double(),
        DilatedNeighborhoodAttention(8, 2, 5, 1, "relative").double(),
    )
    dilated.load_state_dict(near.state_dict())
    x = torch.randn(2, 8, 17, 9, dtype=torch.float64)
    close(dilated(x), near(x))


def test_is_plain_attention_where_an_undilated_kernel_covers_the_map() -> None:
    plain, ours = MultiHeadSelfAttention(8, 2).double(), DilatedNeighborhoodAttention(8, 2, 7, 1).double()
    ours.load_state_dict(plain.state_dict())
    x = torch.randn(2, 8, 6, 7, dtype=torch.float64)
    close(ours(x), plain(x))


def test_the_keys_by_hand() -> None:
    module = DilatedNeighborhoodAttention(4, kernel=3, dilation=2)
    assert keys_of(module, (0, 5), (9, 8)) == {(r, c) for r in (0, 2, 4) for c in (3, 5, 7)}
    assert keys_of(module, (1, 0), (9, 2)) == {(r, 0) for r in (1, 3, 5)}


def test_rejected_options() -> None:
    with pytest.raises(RegardError, match="dilation 0 is too small"):
        DilatedNeighborhoodAttention(8, dilation=0)
    with pytest.raises(RegardError, match="kernel 4 is not odd"):
        DilatedNeighborhoodAttention(8, 2, 4)
