"""Involution (Li et al., 2103.06255, equations 4 and 6): kernels that differ by position and are shared by channels.

y_ci = sum over the k x k positions j around i of h_g(c)(x_i)_j x_cj, one kernel for each group g of channels, with
h(x_i) = W_1 relu(BN(W_0 x_i)). At a stride the kernels are made from the mean of the positions that a step covers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.errors import RegardError
from regard.nn.conv import batch_norm
from regard.nn.renamed import OldNames


class Involution(OldNames, nn.Module):
    """Weighted sum of neighbours, by weights that each position makes from its own vector.

    Args:
        in_channels: channels of the input and the output.
        kernel_size: side k of the neighbourhood, odd.
        stride: step in pixels.
        group_channels: channels that share a kernel; fewer where the input has fewer.
        reduction: channels per hidden channel of the layers that make kernels.

    Raises:
        RegardError: the kernel is even, a number is not positive, or the groups do not divide the channels.
    """

    def __init__(
        self, in_channels: int, kernel_size: int = 7, stride: int = 1, group_channels: int = 16, reduction: int = 4
    ) -> None:
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise RegardError(f"Involution: kernel_size is {kernel_size}", expected="an odd number")
        if min(stride, group_channels, reduction) < 1:
            raise RegardError("Involution: stride, group_channels and reduction have to be positive")
        group_channels = min(group_channels, in_channels)
        if in_channels % group_channels:
            what = f"Involution: {in_channels} channels in groups of {group_channels}"
            raise RegardError(what, expected="a divisor of the channels as group_channels")
        self.out_channels, self.kernel_size, self.stride = in_channels, kernel_size, stride
        self.groups = in_channels // group_channels
        hidden = max(1, in_channels // reduction)
        reduce = nn.Conv2d(in_channels, hidden, 1, bias=False)
        self.reduce = nn.Sequential(reduce, batch_norm(hidden), nn.ReLU())
        self.span = nn.Conv2d(hidden, kernel_size**2 * self.groups, 1)
        self.pool = nn.AvgPool2d(stride, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H / stride, W / stride); H and W multiples of the stride."""
        kernels = self.span(self.reduce(self.pool(x)))
        batch, _, height, width = kernels.shape
        k, channels = self.kernel_size, self.out_channels
        kernels = kernels.view(batch, self.groups, k * k, height, width)
        around = F.unfold(x, k, padding=k // 2, stride=self.stride)
        around = around.view(batch, self.groups, channels // self.groups, k * k, height, width)
        mixed = torch.einsum("bgkhw,bgckhw->bgchw", kernels, around)
        return mixed.reshape(batch, channels, height, width)
