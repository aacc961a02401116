"""The smaller of two sizes, where a size may be a number, a symbol of an export, or a tensor of a trace."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def least(a: Any, b: Any) -> Any:
    """Return the smaller of two sizes; Python's ``min`` would fix them at export.

    Args:
        a: a whole number, a symbol for one in ``torch.export``, or () in a trace, where sizes are tensors.
        b: likewise.
    """
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return torch.minimum(torch.as_tensor(a), torch.as_tensor(b))
    return torch.sym_min(a, b)
