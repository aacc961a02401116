from __future__ import annotations

import pytest
import torch
from catalogue import Operators
from near import by_loops, global_under_mask

from regard.errors import RegardError
from regard.nn.attention.local import LocalAttention
from regard.nn.attention.self_attention import MultiHeadSelfAttention


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


def test_an_even_window_is_refused() -> None:
    with pytest.raises(RegardError, match="window 6 is not odd") as error:
        LocalAttention(8, 2, 6)
    assert "the nearest is 7" in str(error.value)


def test_no_tensor_is_quadratic() -> None:
    block, operators = LocalAttention(8, 2, 3).eval(), Operators()
    with torch.no_grad(), operators:
        block(torch.randn(1, 8, 64, 64))
    assert operators.largest <= 64 * 64 * (8 + 2) ** 2  # a mask, of the keys of a tile for each query
