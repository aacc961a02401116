"""Work done ahead of its use in threads, in order, with a bound on how much is kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

DEPTH = 4
"""How many finished items may wait."""

T = TypeVar("T")
R = TypeVar("R")
_END = object()


def prefetch(items: Iterable[T], depth: int = DEPTH) -> Iterator[T]:
    """Iterate over the same items, while a thread already makes the next ones.

    An exception raised while an item is made is raised where the item would be. A caller that stops early stops the
    thread too.

    Example:
        >>> list(prefetch(range(3)))
        [0, 1, 2]
    """
    iterator = iter(items)
    with ThreadPoolExecutor(1) as thread:
        waiting = deque(thread.submit(next, iterator, _END) for _ in range(depth))
        try:
            while (item := waiting.popleft().result()) is not _END:
                waiting.append(thread.submit(next, iterator, _END))
                yield item  # type: ignore[misc]
        finally:
            thread.shutdown(cancel_futures=True)
            if close := getattr(iterator, "close", None):
                close()


def prefetch_map(function: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """Iterate over ``function(item)`` in the order of the items, computed a few ahead in several threads.

    Example:
        >>> list(prefetch_map(str, range(3), threads=2))
        ['0', '1', '2']
    """
    iterator = iter(items)
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for item in iterator:
                waiting.append(pool.submit(function, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
