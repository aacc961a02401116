"""Work ahead: the same items in the same order, errors in their place, and no thread left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from regard.system.prefetch import DEPTH, prefetch, prefetch_map


@pytest.mark.parametrize("count", [0, 1, DEPTH, 23])
def test_the_same_items_in_the_same_order(count: int) -> None:
    assert list(prefetch(range(count))) == list(range(count))


@pytest.mark.parametrize("count", [0, 1, 3, 23])
def test_mapped_in_threads_the_order_stays(count: int) -> None:
    def slow_first(i: int) -> int:
        time.sleep(0.02 if i % 3 == 0 else 0)
        return i

    assert list(prefetch_map(slow_first, range(count), 3)) == list(range(count))


def test_the_next_items_are_made_while_one_is_used_but_only_a_few() -> None:
    made: list[int] = []
    items = prefetch(made.append(i) or i for i in range(100))  # type: ignore[func-returns-value]
    next(items)
    deadline = time.monotonic() + 5
    while len(made) < 1 + DEPTH and time.monotonic() < deadline:
        time.sleep(0.001)
    assert len(made) == 1 + DEPTH
    items.close()  # type: ignore[attr-defined]


def test_an_error_comes_in_its_place() -> None:
    def torn() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("torn")

    items = prefetch(torn())
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(OSError, match="torn"):
        next(items)


def test_stopping_early_stops_the_thread_and_closes_the_source() -> None:
    closed = threading.Event()

    def source() -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            closed.set()

    before = threading.active_count()
    for item in (items := prefetch(source())):
        if item == 3:
            break
    items.close()  # type: ignore[attr-defined]
    assert closed.is_set()
    assert threading.active_count() == before
