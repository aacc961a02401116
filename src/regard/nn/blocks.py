"""Residual and cross-stage-partial blocks, and spatial pyramid pooling (1911.11929, 1406.4729, as in YOLOv5)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from regard.nn.conv import Conv, batch_norm
from regard.nn.join import chained, join

Kernel = int | tuple[int, int]


class Bottleneck(nn.Module):
    """Two convolutions, 1x1 then 3x3 by default, with the input added where the channels allow it.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        shortcut: whether to add the input.
        groups: groups of the second convolution.
        expansion: hidden channels as a fraction of the output's.
        kernel_sizes: kernels of both; (3, 3) in YOLOv8 and later.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        shortcut: bool = True,
        groups: int = 1,
        expansion: float = 0.5,
        *,
        kernel_sizes: tuple[Kernel, Kernel] = (1, 3),
    ) -> None:
        super().__init__()
        self.out_channels = out_channels or in_channels
        hidden = int(self.out_channels * expansion)
        self.cv1 = Conv(in_channels, hidden, kernel_sizes[0])
        self.cv2 = Conv(hidden, self.out_channels, kernel_sizes[1], groups=groups)
        self.add = shortcut and in_channels == self.out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H, W)."""
        y = self.cv2(self.cv1(x))
        return x + y if self.add else y


class C3(nn.Module):
    """Cross-stage-partial block with three 1x1 convolutions: half of the channels pass a stack of bottlenecks.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        shortcut: whether the bottlenecks add their input.
        groups: groups of their 3x3 convolutions.
        expansion: hidden channels as a fraction of the output's.
        repeats: bottlenecks in the stack.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        shortcut: bool = True,
        groups: int = 1,
        expansion: float = 0.5,
        *,
        repeats: int = 1,
    ) -> None:
        super().__init__()
        self.out_channels = out_channels or in_channels
        hidden = int(self.out_channels * expansion)
        self.cv1 = Conv(in_channels, hidden)
        self.cv2 = Conv(in_channels, hidden)
        self.cv3 = Conv(2 * hidden, self.out_channels)
        self.m = self.stack(hidden, repeats, shortcut, groups)

    def stack(self, channels: int, repeats: int, shortcut: bool, groups: int) -> nn.Module:
        """Build the path of the first half of the channels; variants of C3 replace only this."""
        return nn.Sequential(*(Bottleneck(channels, channels, shortcut, groups, 1.0) for _ in range(repeats)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H, W)."""
        return self.cv3(join((self.m(self.cv1(x)), self.cv2(x))))


class BottleneckCSP(nn.Module):
    """Cross-stage-partial block as first published (1911.11929): bare convolutions and a joint batch norm.

    Args: as for `C3`, and
        kernel_sizes: kernels of the bottlenecks; (3, 3) in YOLOv8 and later.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        shortcut: bool = True,
        groups: int = 1,
        expansion: float = 0.5,
        *,
        repeats: int = 1,
        kernel_sizes: tuple[Kernel, Kernel] = (1, 3),
    ) -> None:
        super().__init__()
        self.out_channels = out_channels or in_channels
        hidden = int(self.out_channels * expansion)
        self.cv1 = Conv(in_channels, hidden)
        self.cv2 = nn.Conv2d(in_channels, hidden, 1, bias=False)
        self.cv3 = nn.Conv2d(hidden, hidden, 1, bias=False)
        self.cv4 = Conv(2 * hidden, self.out_channels)
        self.bn = batch_norm(2 * hidden)
        self.act = nn.SiLU()
        blocks = (Bottleneck(hidden, hidden, shortcut, groups, 1.0, kernel_sizes=kernel_sizes) for _ in range(repeats))
        self.m = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H, W)."""
        joined = join((self.cv3(self.m(self.cv1(x))), self.cv2(x)))
        return self.cv4(self.act(self.bn(joined)))


class SPP(nn.Module):
    """Spatial pyramid pooling: max-pools of several sizes side by side (1406.4729, as in YOLOv3-SPP).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_sizes: odd sides of the pools.
    """

    def __init__(
        self, in_channels: int, out_channels: int | None = None, kernel_sizes: Sequence[int] = (5, 9, 13)
    ) -> None:
        super().__init__()
        self.out_channels = out_channels or in_channels
        hidden = in_channels // 2
        self.cv1 = Conv(in_channels, hidden)
        self.cv2 = Conv(hidden * (len(kernel_sizes) + 1), self.out_channels)
        self.m = nn.ModuleList(nn.MaxPool2d(k, stride=1, padding=k // 2) for k in kernel_sizes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H, W)."""
        x = self.cv1(x)
        return self.cv2(join([x, *(pool(x) for pool in self.m)]))


class SPPF(nn.Module):
    """SPP by chained pools of one size: three pools of k equal pools of k, 2k - 1 and 3k - 2, for less.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: odd side of the pool.
        pools: pools one after another.
        shortcut: whether to add the input where the channels allow it.
        activation: whether SiLU follows the first convolution; YOLO26 has none there.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        kernel_size: int = 5,
        pools: int = 3,
        shortcut: bool = False,
        *,
        activation: bool = True,
    ) -> None:
        super().__init__()
        self.out_channels = out_channels or in_channels
        hidden = in_channels // 2
        self.cv1 = Conv(in_channels, hidden, activation=activation)
        self.cv2 = Conv(hidden * (pools + 1), self.out_channels)
        self.m = nn.MaxPool2d(kernel_size, stride=1, padding=kernel_size // 2)
        self.pools = pools
        self.add = shortcut and in_channels == self.out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H, W)."""
        y = self.cv2(join(chained([self.cv1(x)], [self.m] * self.pools)))
        return x + y if self.add else y
