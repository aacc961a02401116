"""The cross-stage-partial blocks of YOLOv8 to YOLO26: C2f and C3k2 join every map of a chain, C2 and C3k only the last.

After CSPNet (1911.11929) and ELAN (2211.04800): a 1x1 convolution to two halves, of which one passes a chain of blocks.
YOLO11's overview (2410.17725) names C3k2. State-dict keys are those of the published checkpoints.
"""

from __future__ import annotations

from torch import Tensor, nn

from regard.nn.blocks import C3, Bottleneck
from regard.nn.conv import Conv
from regard.nn.join import chained, join
from regard.nn.position_attention import PSABlock, heads_for, same_channels

SQUARE = (3, 3)


class C2f(nn.Module):
    """Both halves of the channels and the map of each block in a chain, joined by a 1x1 convolution.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        shortcut: whether the bottlenecks add their input.
        groups: groups of their second convolutions.
        expansion: channels of each half, as a fraction of the output's.
        repeats: blocks in the chain.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        shortcut: bool = False,
        groups: int = 1,
        expansion: float = 0.5,
        *,
        repeats: int = 1,
    ) -> None:
        super().__init__()
        self._start(in_channels, out_channels or in_channels, expansion, repeats)
        blocks = (
            Bottleneck(self.hidden, self.hidden, shortcut, groups, 1.0, kernel_sizes=SQUARE) for _ in range(repeats)
        )
        self.m = nn.ModuleList(blocks)

    def _start(self, in_channels: int, out_channels: int, expansion: float, repeats: int) -> None:
        """Everything but the chain ``m``, which variants fill with other blocks."""
        self.out_channels = out_channels
        self.hidden = int(out_channels * expansion)
        self.cv1 = Conv(in_channels, 2 * self.hidden)
        self.cv2 = Conv((2 + repeats) * self.hidden, out_channels)
        self.m = nn.ModuleList()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H, W)."""
        return self.cv2(join(chained([*self.cv1(x).chunk(2, 1)], self.m)))


class C2(nn.Module):
    """Half of the channels pass a chain of bottlenecks, and are joined with the other half by a 1x1 convolution.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        shortcut: whether the bottlenecks add their input.
        groups: groups of their second convolutions.
        expansion: channels of each half, as a fraction of the output's.
        repeats: bottlenecks in the chain.
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
        self.cv1 = Conv(in_channels, 2 * hidden)
        self.cv2 = Conv(2 * hidden, self.out_channels)
        self.m = nn.Sequential(
            *(Bottleneck(hidden, hidden, shortcut, groups, 1.0, kernel_sizes=SQUARE) for _ in range(repeats))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H, W)."""
        first, second = self.cv1(x).chunk(2, 1)
        return self.cv2(join((self.m(first), second)))


class C3k(C3):
    """C3 whose bottlenecks have two square kernels of one size.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        shortcut: whether the bottlenecks add their input.
        groups: groups of their second convolutions.
        expansion: hidden channels as a fraction of the output's.
        kernel_size: side of their kernels.
        repeats: bottlenecks in the stack.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        shortcut: bool = True,
        groups: int = 1,
        expansion: float = 0.5,
        kernel_size: int = 3,
        *,
        repeats: int = 1,
    ) -> None:
        self._sides: tuple[int, int] = (kernel_size, kernel_size)
        super().__init__(in_channels, out_channels, shortcut, groups, expansion, repeats=repeats)

    def stack(self, channels: int, repeats: int, shortcut: bool, groups: int) -> nn.Module:
        """Build bottlenecks with square kernels."""
        blocks = (
            Bottleneck(channels, channels, shortcut, groups, 1.0, kernel_sizes=self._sides) for _ in range(repeats)
        )
        return nn.Sequential(*blocks)


class C3x(C3):
    """C3 whose bottlenecks have kernels 1x3 and 3x1."""

    def stack(self, channels: int, repeats: int, shortcut: bool, groups: int) -> nn.Module:
        """Build bottlenecks with crossed kernels."""
        crossed = ((1, 3), (3, 1))
        blocks = (Bottleneck(channels, channels, shortcut, groups, 1.0, kernel_sizes=crossed) for _ in range(repeats))
        return nn.Sequential(*blocks)


class C3k2(C2f):
    """C2f over one of three kinds of block: a bottleneck, a C3k of two bottlenecks, or a bottleneck and attention.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        c3k: whether the blocks are C3k.
        expansion: channels of each half, as a fraction of the output's.
        attention: whether the blocks are a bottleneck and attention; then ``c3k`` has no effect.
        groups: groups of the bottlenecks' second convolutions.
        shortcut: whether the bottlenecks add their input.
        repeats: blocks in the chain.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        c3k: bool = False,
        expansion: float = 0.5,
        attention: bool = False,
        groups: int = 1,
        shortcut: bool = True,
        *,
        repeats: int = 1,
    ) -> None:
        nn.Module.__init__(self)
        self._start(in_channels, out_channels or in_channels, expansion, repeats)
        h = self.hidden

        def block() -> nn.Module:
            if not attention and c3k:
                return C3k(h, h, shortcut, groups, repeats=2)
            plain = Bottleneck(h, h, shortcut, groups, kernel_sizes=SQUARE)
            return nn.Sequential(plain, PSABlock(h, 0.5, heads_for(h))) if attention else plain

        self.m = nn.ModuleList(block() for _ in range(repeats))


class C2fPSA(C2f):
    """C2f over attention blocks, which keeps its number of channels.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, as many as of the input.
        expansion: channels of each half, as a fraction of the output's.
        repeats: blocks in the chain.
    """

    def __init__(
        self, in_channels: int, out_channels: int | None = None, expansion: float = 0.5, *, repeats: int = 1
    ) -> None:
        nn.Module.__init__(self)
        self._start(in_channels, same_channels("C2fPSA", in_channels, out_channels), expansion, repeats)
        self.m = nn.ModuleList(PSABlock(self.hidden, 0.5, heads_for(self.hidden)) for _ in range(repeats))
