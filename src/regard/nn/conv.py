"""Convolution with batch norm and activation, and layers that only rearrange or concatenate feature maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from regard.nn.join import join

BATCHNORM_EPS, BATCHNORM_MOMENTUM = 1e-3, 0.03


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm with the parameters of YOLOv5's training (eps 1e-3, momentum 0.03)."""
    return nn.BatchNorm2d(channels, eps=BATCHNORM_EPS, momentum=BATCHNORM_MOMENTUM)


class Conv(nn.Module):
    """Convolution without bias, batch norm, SiLU.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output; as many as the input if not given.
        kernel_size: side of the square kernel.
        stride: step in pixels.
        padding: zeros on each side; half the kernel where not given, which keeps the size at stride 1.
        groups: channel groups that do not see each other.
        dilation: distance between the taps of the kernel.
        activation: whether SiLU follows.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        kernel_size: int | tuple[int, int] = 1,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
        dilation: int = 1,
        *,
        activation: bool = True,
    ) -> None:
        super().__init__()
        self.out_channels = out_channels or in_channels
        sides = kernel_size if isinstance(kernel_size, tuple) else (kernel_size, kernel_size)
        high, wide = ((dilation * (k - 1) + 1) // 2 if padding is None else padding for k in sides)
        self.conv = nn.Conv2d(
            in_channels, self.out_channels, sides, stride, (high, wide), dilation, groups=groups, bias=False
        )
        self.bn = batch_norm(self.out_channels)
        self.act: nn.Module = nn.SiLU() if activation else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H / stride, W / stride)."""
        return self.act(self.bn(self.conv(x)))


class SummedBranches(nn.Module):
    """Branches that read one map, their sum, and an activation (RepVGG, 2101.03697, figure 4).

    `regard.nn.fuse` merges the branches into one convolution.

    Attributes:
        BRANCHES: names of the branches: each a `Conv` without activation, a batch norm, or None.
        act: the activation.
        merged: the convolution that replaces the branches, once they are merged.
    """

    BRANCHES: ClassVar[tuple[str, ...]]
    act: nn.Module

    def __init__(self) -> None:
        super().__init__()
        self.merged: nn.Conv2d | None = None

    def branches(self) -> list[nn.Module]:
        """The branches that there are, in the order in which they are summed."""
        found = (getattr(self, name) for name in self.BRANCHES)
        return [branch for branch in found if branch is not None]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H / stride, W / stride)."""
        if self.merged is not None:
            return self.act(self.merged(x))
        first, *others = self.branches()
        y = first(x)
        for branch in others:
            y = y + branch(x)
        return self.act(y)


class DWConv(Conv):
    """Convolution in as many groups as the channels allow: depth-wise where input and output have the same number.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the square kernel.
        stride: step in pixels.
        dilation: distance between the taps of the kernel.
        activation: whether SiLU follows.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        kernel_size: int = 1,
        stride: int = 1,
        dilation: int = 1,
        activation: bool = True,
    ) -> None:
        out = out_channels or in_channels
        groups = math.gcd(in_channels, out)
        super().__init__(in_channels, out, kernel_size, stride, None, groups, dilation, activation=activation)


class Focus(nn.Module):
    """The four pixel phases of a map stacked on channels, then a convolution: halves the size without losing a pixel.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: kernel of the convolution after the stacking.
        stride: its stride.
        padding: its padding.
        groups: its groups.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        kernel_size: int = 1,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.out_channels = out_channels or in_channels
        self.conv = Conv(4 * in_channels, self.out_channels, kernel_size, stride, padding, groups)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H / 2, W / 2); H and W even."""
        phases = [x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]]
        return self.conv(join(phases))


class Concat(nn.Module):
    """Concatenation of several maps of one size, along the channels by default.

    Args:
        in_channels: channels of each input.
        dim: the dimension to join on.
    """

    multi_input: ClassVar[bool] = True
    requires_same_size: ClassVar[bool] = True  # its inputs have to be of one size

    def __init__(self, in_channels: Sequence[int], dim: int = 1) -> None:
        super().__init__()
        self.out_channels = sum(in_channels)
        self.dim = dim

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """[(B, C_i, H, W)] -> (B, sum C_i, H, W)."""
        return join(maps) if self.dim == 1 else torch.cat(list(maps), self.dim)
