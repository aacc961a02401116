"""Blocks of light networks: slim-neck, ShuffleNet V2, MobileNet V2 and V3, and RepVGG.

Sources: 2206.02424, 1807.11164, 1801.04381, 1905.02244, 2101.03697.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from regard.errors import RegardError
from regard.nn.blocks import C3
from regard.nn.conv import Conv, SummedBranches, batch_norm
from regard.nn.join import join


class GSConv(nn.Module):
    """A convolution to half of the channels and a depth-wise 5x5 one of those, shuffled (2206.02424, figure 3).

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
        activation: bool = True,
    ) -> None:
        super().__init__()
        self.out_channels = out_channels or in_channels
        half = self.out_channels // 2
        self.cv1 = Conv(in_channels, half, kernel_size, stride, groups=groups, activation=activation)
        self.cv2 = Conv(half, half, 5, groups=half, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H / stride, W / stride); channels of both alternate."""
        y = self.cv1(x)
        return F.channel_shuffle(join((y, self.cv2(y))), 2)


class GSBottleneck(nn.Module):
    """Two GSConv in sequence, to which a convolution of the input is added (2206.02424, figure 4 a).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        expansion: hidden channels as a fraction of the output's.
    """

    def __init__(self, in_channels: int, out_channels: int | None = None, expansion: float = 0.5) -> None:
        super().__init__()
        self.out_channels = out_channels or in_channels
        hidden = int(self.out_channels * expansion)
        self.conv_lighting = nn.Sequential(
            GSConv(in_channels, hidden), GSConv(hidden, self.out_channels, 3, activation=False)
        )
        self.shortcut = Conv(in_channels, self.out_channels, activation=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H, W)."""
        y: Tensor = self.conv_lighting(x)
        return y + self.shortcut(x)


class VoVGSCSP(C3):
    """Cross-stage-partial block over GS bottlenecks, aggregated once (2206.02424, figure 4 b)."""

    def stack(self, channels: int, repeats: int, shortcut: bool, groups: int) -> nn.Module:  # noqa: ARG002
        """Build GS bottlenecks; they always have their shortcut and no groups."""
        return nn.Sequential(*(GSBottleneck(channels, channels, 1.0) for _ in range(repeats)))


class ShuffleUnit(nn.Module):
    """Unit of ShuffleNet V2 (1807.11164, figure 3 c and d): half of the channels pass, the other half is convolved.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, even; as many as the input's at stride 1.
        stride: 1, or 2, at which all channels pass both branches.

    Raises:
        RegardError: the channels or the stride do not suit the unit.
    """

    def __init__(self, in_channels: int, out_channels: int | None = None, stride: int = 1) -> None:
        super().__init__()
        self.out_channels = out_channels or in_channels
        if stride not in (1, 2) or self.out_channels % 2 or (stride == 1 and in_channels != self.out_channels):
            what = f"ShuffleUnit: {in_channels} to {self.out_channels} channels at stride {stride}"
            raise RegardError(what, expected="an even number of channels, equal at stride 1, and stride 1 or 2")
        half = self.out_channels // 2
        self.stride = stride
        into = half if stride == 1 else in_channels
        whole = () if stride == 1 else (*_depthwise(in_channels, stride), *_pointwise(in_channels, half))
        self.branch1 = nn.Sequential(*whole)
        self.branch2 = nn.Sequential(*_pointwise(into, half), *_depthwise(half, stride), *_pointwise(half, half))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H / stride, W / stride)."""
        first, second = x.chunk(2, 1) if self.stride == 1 else (x, x)
        return F.channel_shuffle(join((self.branch1(first), self.branch2(second))), 2)


class ConvPool(nn.Module):
    """Stem of ShuffleNet V2 (1807.11164, table 5): 3x3 convolution of stride 2, then a maximum of 3x3 at stride 2.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int | None = None) -> None:
        super().__init__()
        self.out_channels = out_channels or in_channels
        convolution = nn.Conv2d(in_channels, self.out_channels, 3, 2, 1, bias=False)
        self.conv = nn.Sequential(convolution, batch_norm(self.out_channels), nn.ReLU())
        self.maxpool = nn.MaxPool2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H / 4, W / 4)."""
        y: Tensor = self.maxpool(self.conv(x))
        return y


class ConvHardswish(nn.Module):
    """Convolution, batch norm and h-swish: the stem of MobileNet V3 (1905.02244, table 1).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: step in pixels.
        kernel_size: side of the kernel, odd.
    """

    def __init__(
        self, in_channels: int, out_channels: int | None = None, stride: int = 1, kernel_size: int = 3
    ) -> None:
        super().__init__()
        self.out_channels = out_channels or in_channels
        self.conv = nn.Conv2d(in_channels, self.out_channels, kernel_size, stride, kernel_size // 2, bias=False)
        self.bn = batch_norm(self.out_channels)
        self.act = nn.Hardswish()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H / stride, W / stride)."""
        y: Tensor = self.act(self.bn(self.conv(x)))
        return y


class InvertedResidual(nn.Module):
    """Block of MobileNet V2 (1801.04381, table 1): expansion, depth-wise convolution, linear bottleneck.

    A 1x1 convolution to ``expansion`` times the channels (none for 1) and a depth-wise 3x3 one, each with ReLU6, then a
    1x1 convolution without activation; the input is added where the shape allows it.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: of the depth-wise convolution, 1 or 2.
        expansion: channels in the middle per channel of the input.

    Raises:
        RegardError: the stride is another, or ``expansion`` is not positive.
    """

    def __init__(
        self, in_channels: int, out_channels: int | None = None, stride: int = 1, expansion: float = 6
    ) -> None:
        super().__init__()
        hidden = round(in_channels * expansion)
        if stride not in (1, 2) or hidden < 1:
            what = f"InvertedResidual: stride {stride}, expansion {expansion}"
            raise RegardError(what, expected="stride 1 or 2, then a positive expansion")
        self.out_channels = out_channels or in_channels
        expand = (nn.Conv2d(in_channels, hidden, 1, bias=False), batch_norm(hidden), nn.ReLU6())
        project = (nn.Conv2d(hidden, self.out_channels, 1, bias=False), batch_norm(self.out_channels))
        self.conv = nn.Sequential(
            *(expand if expansion != 1 else ()), *_depthwise(hidden, stride), nn.ReLU6(), *project
        )
        self.add = stride == 1 and in_channels == self.out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H / stride, W / stride)."""
        y: Tensor = self.conv(x)
        return x + y if self.add else y


class MobileNetV3Block(nn.Module):
    """Inverted residual with squeeze-and-excitation in its middle (1905.02244, figure 4).

    1x1 convolution to ``hidden`` channels (none where the input has as many), depth-wise convolution, weights of the
    channels by the hard sigmoid, 1x1 convolution without activation; the input is added where the shape allows it.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        hidden: channels in the middle; four times the input's if not given. ``width_multiple`` does not scale them.
        kernel_size: of the depth-wise convolution, odd.
        stride: of the depth-wise convolution, 1 or 2.
        squeeze: whether channels are weighted.
        hardswish: h-swish instead of ReLU.

    Raises:
        RegardError: ``hidden`` is not positive, or the stride is another.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        hidden: int | None = None,
        kernel_size: int = 3,
        stride: int = 1,
        squeeze: bool | int = True,
        hardswish: bool | int = True,
    ) -> None:
        super().__init__()
        hidden = 4 * in_channels if hidden is None else hidden
        if hidden < 1 or stride not in (1, 2):
            raise RegardError(
                f"MobileNetV3Block: hidden {hidden}, stride {stride}", expected="positive channels, stride 1 or 2"
            )
        self.out_channels = out_channels or in_channels
        act: type[nn.Module] = nn.Hardswish if hardswish else nn.ReLU
        expand = [nn.Conv2d(in_channels, hidden, 1, bias=False), batch_norm(hidden), act()]
        depthwise = nn.Conv2d(hidden, hidden, kernel_size, stride, kernel_size // 2, groups=hidden, bias=False)
        self.expand = nn.Sequential(*(expand if hidden != in_channels else ()))
        self.depthwise = nn.Sequential(depthwise, batch_norm(hidden))
        narrow = max(1, hidden // 4)
        excitation = (nn.Conv2d(hidden, narrow, 1), nn.ReLU(), nn.Conv2d(narrow, hidden, 1), nn.Hardsigmoid())
        self.excite = nn.Sequential(nn.AdaptiveAvgPool2d(1), *excitation) if squeeze else None
        self.act = act()
        project = nn.Conv2d(hidden, self.out_channels, 1, bias=False)
        self.project = nn.Sequential(project, batch_norm(self.out_channels))
        self.add = stride == 1 and in_channels == self.out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H / stride, W / stride)."""
        y = self.act(self.depthwise(self.expand(x)))
        y = self.project(y if self.excite is None else y * self.excite(y))
        return x + y if self.add else y


class RepVGGBlock(SummedBranches):
    """A 3x3 convolution, a 1x1 one and, where the shape allows it, the input, each normalised, then ReLU (2101.03697).

    For predictions and exports, `regard.nn.fuse` merges them into the equal convolution of the paper's figure 4.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: 3, as the paper has no other.
        stride: step in pixels.

    Raises:
        RegardError: ``kernel_size`` is not 3.
    """

    BRANCHES = ("dense", "pointwise", "identity")

    def __init__(
        self, in_channels: int, out_channels: int | None = None, kernel_size: int = 3, stride: int = 1
    ) -> None:
        super().__init__()
        if kernel_size != 3:
            raise RegardError(f"RepVGGBlock: kernel_size is {kernel_size}", expected="3")
        self.out_channels = out_channels or in_channels
        self.dense = Conv(in_channels, self.out_channels, 3, stride, activation=False)
        self.pointwise = Conv(in_channels, self.out_channels, 1, stride, activation=False)
        same = stride == 1 and in_channels == self.out_channels
        self.identity = batch_norm(in_channels) if same else None
        self.act = nn.ReLU()


def _pointwise(in_channels: int, out_channels: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(in_channels, out_channels, 1, bias=False), batch_norm(out_channels), nn.ReLU()


def _depthwise(channels: int, stride: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False), batch_norm(channels)
