"""The square around every position of a map, one place of it after the other."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor
from torch.nn import functional as F


def places_around(x: Tensor, kernel: int, dilation: int = 1, *, rows: int) -> Iterator[Tensor]:
    """What stands at each place of the square around every position, zeros outside of the map: kernel^2 views like x.

    Args:
        x: maps, whose rows and columns are two dimensions that follow one another.
        kernel: side of the square in steps of ``dilation``, odd.
        dilation: positions from one place to the next.
        rows: number of the dimension of the rows.

    Example:
        >>> import torch
        >>> [place.tolist() for place in places_around(torch.tensor([[1, 2]]), 3, rows=0)][3:6]
        [[[0, 1]], [[1, 2]], [[2, 0]]]
    """
    height, width = x.shape[rows], x.shape[rows + 1]
    reach = kernel // 2 * dilation
    wide = F.pad(x, (0, 0) * (x.ndim - rows - 2) + (reach,) * 4)
    for i in range(0, kernel * dilation, dilation):
        for j in range(0, kernel * dilation, dilation):
            yield wide.narrow(rows, i, height).narrow(rows + 1, j, width)
