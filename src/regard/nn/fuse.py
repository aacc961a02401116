"""Batch norms folded into the convolutions before them, for detectors that only predict."""

from __future__ import annotations

from copy import deepcopy
from typing import TypeVar

from torch import nn
from torch.nn.utils import fuse_conv_bn_eval

from regard.nn.conv import Conv

M = TypeVar("M", bound=nn.Module)


def fuse(module: M) -> M:
    """Copy a module in evaluation mode and fuse the batch norms of the copy into its convolutions."""
    copy = deepcopy(module)
    fold_batch_norm(copy)
    return copy


def fold_batch_norm(module: nn.Module) -> None:
    """Fold, in place, the batch norm of every `Conv` inside: w' = w g / sqrt(v + eps), b' = b - m g / sqrt(v + eps).

    Afterwards the module computes as in evaluation mode in either mode, and cannot be trained any more.

    Args:
        module: in evaluation mode.
    """
    for layer in module.modules():
        if isinstance(layer, Conv) and isinstance(layer.bn, nn.BatchNorm2d):
            layer.conv = fuse_conv_bn_eval(layer.conv, layer.bn)
            layer.bn = nn.Identity()  # type: ignore[assignment]  # nothing is left for it to do
