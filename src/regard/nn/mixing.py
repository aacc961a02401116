"""What a layer offers whose attention can be told from the rest of it, so that its share can be bounded."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Mixing(Protocol):
    """A layer in which positions exchange values: every module of the catalogue, C3TR, MultiScaleDeformable."""

    def mixing_flops(self, height: int, width: int) -> int:
        """Return the operations that a cheaper variant could save, for one image of this size."""

    def unmixed(self, x: Any) -> Tensor:
        """Return what ``forward`` would, of a map or several, if that cost nothing and changed nothing."""
