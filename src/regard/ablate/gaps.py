"""What a report lacks because one step towards it failed: each step fails by itself, and the verdict stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from regard.ablate.worker import describe_failure


class Gaps:
    """Collects what could not be done.

    Args:
        told: what is known to be missing already.

    Attributes:
        told: a line for each step that failed: what is missing, and why.
    """

    def __init__(self, told: Sequence[str] = ()) -> None:
        self.told = list(told)

    @contextmanager
    def noted(self, what: str) -> Iterator[None]:
        """Note an exception instead of passing it on; ``what`` is then missing."""
        try:
            yield
        except Exception as error:  # a user's module can raise anything
            self.told.append(f"{what}: {describe_failure(error)}")
