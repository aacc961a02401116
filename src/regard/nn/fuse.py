"""Batch norms folded into convolutions, and summed branches merged into one, for detectors that only predict.

A branch is linear, so a sum of branches that read one map is one convolution: kernels are padded with zeros to the
largest and added, as are their biases; a batch norm alone is a 1 x 1 convolution (RepVGG, 2101.03697, figure 4).
"""

from __future__ import annotations

from copy import deepcopy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import fuse_conv_bn_eval

from regard.nn.conv import Conv, SummedBranches

M = TypeVar("M", bound=nn.Module)


def fuse(module: M) -> M:
    """Copy a module in evaluation mode, merge the branches of the copy and fuse its batch norms into convolutions."""
    copy = deepcopy(module)
    fold_batch_norm(copy)
    return copy


def fold_batch_norm(module: nn.Module) -> None:
    """Merge, in place, all `SummedBranches` inside, and fold the batch norm of every `Conv`.

    w' = w g / sqrt(v + eps), b' = b - m g / sqrt(v + eps). Afterwards the module computes as in evaluation mode in
    either mode, and cannot be trained any more.

    Args:
        module: in evaluation mode.
    """
    for layer in list(module.modules()):
        if isinstance(layer, SummedBranches) and layer.merged is None:
            _merge(layer)
    for layer in module.modules():
        if isinstance(layer, Conv) and isinstance(layer.bn, nn.BatchNorm2d):
            layer.conv = fuse_conv_bn_eval(layer.conv, layer.bn)
            layer.bn = nn.Identity()  # type: ignore[assignment]  # nothing is left for it to do


@torch.no_grad()
def _merge(layer: SummedBranches) -> None:
    branches = layer.branches()
    largest = max((b.conv for b in branches if isinstance(b, Conv)), key=lambda conv: conv.kernel_size[0])
    side, weight = largest.kernel_size[0], largest.weight
    kernel, bias = torch.zeros_like(weight, dtype=torch.float64), weight.new_zeros(len(weight), dtype=torch.float64)
    for branch in branches:
        own, shift = _as_convolution(branch, largest)
        kernel += F.pad(own, [(side - own.shape[-1]) // 2] * 4)
        bias += shift
    merged = nn.Conv2d(
        largest.in_channels, largest.out_channels, side, largest.stride[0], side // 2, groups=largest.groups
    )
    merged.weight, merged.bias = nn.Parameter(kernel.to(weight)), nn.Parameter(bias.to(weight))
    layer.merged = merged.eval()
    for name in layer.BRANCHES:
        setattr(layer, name, None)


def _as_convolution(branch: nn.Module, like: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Kernel and bias, in float64, of a branch with the channels and groups of ``like``."""
    norm = branch.bn if isinstance(branch, Conv) else branch
    if isinstance(branch, Conv):
        kernel = branch.conv.weight.double()
    else:
        kernel = like.weight.new_zeros(*like.weight.shape[:2], 1, 1, dtype=torch.float64)
        channels = torch.arange(len(kernel), device=kernel.device)
        kernel[channels, channels % kernel.shape[1]] = 1
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    return kernel * scale.view(-1, 1, 1, 1), norm.bias.double() - norm.running_mean.double() * scale
