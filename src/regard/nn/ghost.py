"""Ghost convolutions: half of the maps are cheap depth-wise copies of the other half (GhostNet, 1911.11907)."""

from __future__ import annotations

from torch import Tensor, nn

from regard.nn.blocks import C3
from regard.nn.conv import Conv
from regard.nn.join import join


class GhostConv(nn.Module):
    """A convolution to half of the channels, and a depth-wise 5x5 convolution of those for the other half.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, even.
        kernel_size: kernel of the first convolution.
        stride: its stride.
        groups: its groups.
        activation: whether SiLU follows both.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        kernel_size: int = 1,
        stride: int = 1,
        groups: int = 1,
        *,
        activation: bool = True,
    ) -> None:
        super().__init__()
        self.out_channels = out_channels or in_channels
        half = self.out_channels // 2
        self.cv1 = Conv(in_channels, half, kernel_size, stride, groups=groups, activation=activation)
        self.cv2 = Conv(half, half, 5, groups=half, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H / stride, W / stride)."""
        y = self.cv1(x)
        return join((y, self.cv2(y)))


class GhostBottleneck(nn.Module):
    """Two ghost convolutions around an optional depth-wise stride, with a residual connection.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: kernel of the depth-wise convolution at stride 2.
        stride: 1 or 2.
    """

    def __init__(
        self, in_channels: int, out_channels: int | None = None, kernel_size: int = 3, stride: int = 1
    ) -> None:
        super().__init__()
        self.out_channels = out_channels or in_channels
        half = self.out_channels // 2
        self.conv = nn.Sequential(
            GhostConv(in_channels, half),
            Conv(half, half, kernel_size, stride, groups=half, activation=False) if stride == 2 else nn.Identity(),
            GhostConv(half, self.out_channels, activation=False),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride == 2:
            self.shortcut = nn.Sequential(
                Conv(in_channels, in_channels, kernel_size, stride, groups=in_channels, activation=False),
                Conv(in_channels, self.out_channels, activation=False),
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H / stride, W / stride)."""
        return self.conv(x) + self.shortcut(x)


class C3Ghost(C3):
    """C3 over ghost bottlenecks."""

    def stack(self, channels: int, repeats: int, shortcut: bool, groups: int) -> nn.Module:  # noqa: ARG002
        """Build ghost bottlenecks; they always add their input and have no groups."""
        return nn.Sequential(*(GhostBottleneck(channels, channels) for _ in range(repeats)))
