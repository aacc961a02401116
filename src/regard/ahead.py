"""Work done ahead in threads, in order, with a bound on how much lies ready."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

DEPTH = 4
"""How many items may lie ready."""

T = TypeVar("T")
R = TypeVar("R")
_END = object()


def ahead(items: Iterable[T], depth: int = DEPTH) -> Iterator[T]:
    """Yield the same items, the next ones made in a thread of their own while one is used.

    What making an item raises is raised in its place. A caller that stops early stops the thread too.
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


def map_ahead(function: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """Yield ``function(item)`` in the order of the items, computed in several threads, a few ahead."""
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
