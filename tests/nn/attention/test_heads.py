from __future__ import annotations

import pytest

from regard.errors import RegardError
from regard.nn.attention.heads import check_heads


@pytest.mark.parametrize(("channels", "heads", "multiple"), [(1, 1, 1), (15, 5, 1), (24, 6, 4), (24, 2, 4), (8, 8, 1)])
def test_heads_that_share_evenly(channels: int, heads: int, multiple: int) -> None:
    check_heads(channels, heads, multiple)


@pytest.mark.parametrize(
    ("channels", "heads", "multiple", "possible", "best"),
    [
        (15, 4, 1, "1, 3, 5, 15", 3),  # 3 and 5 are as near; the fewer heads win
        (30, 4, 1, "1, 2, 3, 5, 6, 10, 15, 30", 3),
        (8, 0, 1, "1, 2, 4, 8", 1),
        (8, -2, 1, "1, 2, 4, 8", 1),
        (3, 99, 1, "1, 3", 3),
        (24, 4, 4, "1, 2, 3, 6", 3),
    ],
)
def test_the_nearest_number_is_named(channels: int, heads: int, multiple: int, possible: str, best: int) -> None:
    with pytest.raises(RegardError, match=f"{heads} heads do not share {channels} channels evenly") as caught:
        check_heads(channels, heads, multiple)
    assert caught.value.expected == f"heads: {possible}"
    assert caught.value.hint == f"the nearest is {best}"


def test_channels_that_no_number_of_heads_suits() -> None:
    with pytest.raises(RegardError, match="in multiples of 4") as caught:
        check_heads(6, 2, 4)
    assert caught.value.expected == "a multiple of 4 channels"
