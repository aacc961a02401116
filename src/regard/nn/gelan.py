"""The blocks of YOLOv9 (Wang et al., 2402.13616): GELAN over re-parameterised bottlenecks, pooled downsampling, and the
links between two backbones (CBNet, 1909.03625). RepVGG is 2101.03697. State-dict keys are the published ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from regard.errors import RegardError
from regard.nn.blocks import C3, Bottleneck
from regard.nn.conv import Conv, SummedBranches
from regard.nn.join import chained, join


class RepConv(SummedBranches):
    """A 3x3 and a 1x1 convolution side by side, then SiLU; there is no identity branch.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
    """

    BRANCHES = ("conv1", "conv2")

    def __init__(self, in_channels: int, out_channels: int | None = None) -> None:
        super().__init__()
        self.out_channels = out_channels or in_channels
        self.conv1 = Conv(in_channels, self.out_channels, 3, activation=False)
        self.conv2 = Conv(in_channels, self.out_channels, 1, activation=False)
        self.act = nn.SiLU()


class RepC3(nn.Module):
    """A chain of `RepConv` beside a 1x1 convolution, summed (RT-DETR, 2304.08069, figure 5).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        expansion: hidden channels as a fraction of the output's.
        repeats: convolutions in the chain.
    """

    def __init__(
        self, in_channels: int, out_channels: int | None = None, expansion: float = 1.0, *, repeats: int = 3
    ) -> None:
        super().__init__()
        self.out_channels = out_channels or in_channels
        hidden = int(self.out_channels * expansion)
        self.cv1, self.cv2 = Conv(in_channels, hidden), Conv(in_channels, hidden)
        self.m = nn.Sequential(*(RepConv(hidden, hidden) for _ in range(repeats)))
        self.cv3 = Conv(hidden, self.out_channels) if hidden != self.out_channels else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H, W)."""
        y: Tensor = self.cv3(self.m(self.cv1(x)) + self.cv2(x))
        return y


class RepBottleneck(Bottleneck):
    """A bottleneck of two 3x3 convolutions, of which the first is re-parameterised; it keeps its channels.

    Args:
        channels: channels of the input and the output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, True, 1, 1.0, kernel_sizes=(3, 3))
        self.cv1 = RepConv(channels, channels)  # type: ignore[assignment]


class RepCSP(C3):
    """C3 over re-parameterised bottlenecks."""

    def stack(self, channels: int, repeats: int, shortcut: bool, groups: int) -> nn.Module:  # noqa: ARG002
        """Build re-parameterised bottlenecks; they always add their input and have no groups."""
        return nn.Sequential(*(RepBottleneck(channels) for _ in range(repeats)))


class RepNCSPELAN4(nn.Module):
    """GELAN (section 4.2): both halves of a 1x1 convolution and the maps of two stages, joined.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        split_channels: channels of both halves together.
        stage_channels: channels of each stage.
        bottlenecks: bottlenecks in each stage.
    """

    def __init__(
        self, in_channels: int, out_channels: int, split_channels: int, stage_channels: int, bottlenecks: int = 1
    ) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.cv1 = Conv(in_channels, split_channels)
        self.cv2, self.cv3 = self.stages(split_channels // 2, stage_channels, bottlenecks)
        self.cv4 = Conv(split_channels + 2 * stage_channels, out_channels)

    def stages(self, half: int, channels: int, bottlenecks: int) -> tuple[nn.Module, nn.Module]:
        """Build both stages; ELAN1 replaces only these."""
        first = nn.Sequential(RepCSP(half, channels, repeats=bottlenecks), Conv(channels, channels, 3))
        second = nn.Sequential(RepCSP(channels, channels, repeats=bottlenecks), Conv(channels, channels, 3))
        return first, second

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H, W)."""
        return self.cv4(join(chained([*self.cv1(x).chunk(2, 1)], (self.cv2, self.cv3))))


class ELAN1(RepNCSPELAN4):
    """GELAN whose stages are single 3x3 convolutions.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        split_channels: channels of both halves together.
        stage_channels: channels of each stage.
    """

    def __init__(self, in_channels: int, out_channels: int, split_channels: int, stage_channels: int) -> None:
        super().__init__(in_channels, out_channels, split_channels, stage_channels)

    def stages(self, half: int, channels: int, bottlenecks: int) -> tuple[nn.Module, nn.Module]:  # noqa: ARG002
        """Build two convolutions."""
        return Conv(half, channels, 3), Conv(channels, channels, 3)


class SPPELAN(nn.Module):
    """A 1x1 convolution and three max-pools in a chain, joined by another.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        hidden_channels: channels of the pools.
        kernel_size: odd side of the pools.
    """

    def __init__(self, in_channels: int, out_channels: int, hidden_channels: int, kernel_size: int = 5) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.cv1 = Conv(in_channels, hidden_channels)
        self.cv2, self.cv3, self.cv4 = (nn.MaxPool2d(kernel_size, 1, kernel_size // 2) for _ in range(3))
        self.cv5 = Conv(4 * hidden_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H, W)."""
        return self.cv5(join(chained([self.cv1(x)], (self.cv2, self.cv3, self.cv4))))


class AConv(nn.Module):
    """Downsampling by a 2x2 average of stride 1, then a 3x3 convolution of stride 2.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int | None = None) -> None:
        super().__init__()
        self.out_channels = out_channels or in_channels
        self.cv1 = Conv(in_channels, self.out_channels, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H / 2, W / 2)."""
        return self.cv1(F.avg_pool2d(x, 2, 1))


class ADown(nn.Module):
    """Downsampling of a 2x2 average: half of the channels by a convolution, half by a max-pool and a 1x1 convolution.

    Args:
        in_channels: channels of the input, even.
        out_channels: channels of the output, even.
    """

    def __init__(self, in_channels: int, out_channels: int | None = None) -> None:
        super().__init__()
        self.out_channels = out_channels or in_channels
        half = self.out_channels // 2
        self.cv1 = Conv(in_channels // 2, half, 3, 2, 1)
        self.cv2 = Conv(in_channels // 2, half, 1, 1, 0)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H / 2, W / 2)."""
        first, second = F.avg_pool2d(x, 2, 1).chunk(2, 1)
        return join((self.cv1(first), self.cv2(F.max_pool2d(second, 3, 2, 1))))


class CBLinear(nn.Module):
    """A 1x1 convolution whose output holds one part for each level of a second backbone, joined on the channels.

    Args:
        in_channels: channels of the input.
        parts: channels of each part.
        kernel_size: side of the kernel.
    """

    def __init__(self, in_channels: int, *, parts: Sequence[int], kernel_size: int = 1) -> None:
        super().__init__()
        self.out_channels = sum(parts)
        self.conv = nn.Conv2d(in_channels, self.out_channels, kernel_size, padding=kernel_size // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, sum of parts, H, W)."""
        y: Tensor = self.conv(x)
        return y


class CBFuse(nn.Module):
    """One part of each `CBLinear`, enlarged to the size of the last input, and their sum with it.

    Args:
        in_channels: channels of each input.
        select: which part to take of each input but the last.
        parts: channels of the parts of each input but the last.

    Raises:
        RegardError: a part does not exist, or differs from the last input in its channels.
    """

    multi_input: ClassVar[bool] = True

    def __init__(self, in_channels: Sequence[int], *, select: Sequence[int], parts: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.out_channels = in_channels[-1]
        if not len(select) == len(parts) == len(in_channels) - 1:
            what = f"CBFuse reads {len(in_channels)} layers, but selects from {len(select)}"
            raise RegardError(what, expected="one part of each but the last")
        self.slices: list[tuple[int, int]] = []
        for index, channels in zip(select, parts, strict=True):
            if not 0 <= index < len(channels) or channels[index] != self.out_channels:
                what = f"CBFuse: part {index} of {list(channels)} channels cannot be added to {self.out_channels}"
                raise RegardError(what, expected="a part with as many channels as the last input")
            self.slices.append((sum(channels[:index]), channels[index]))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """[(B, C_i, H_i, W_i)] -> (B, C, H, W) of the last."""
        *linked, last = maps
        total = last
        for x, (start, length) in zip(linked, self.slices, strict=True):
            part = x[:, start : start + length]
            total = total + F.interpolate(part, size=last.shape[2:], mode="nearest")
        return total
