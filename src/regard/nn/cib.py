"""The efficient blocks of YOLOv10 (Wang et al., 2405.14458, section 3.2): spatial-channel decoupled downsampling, and
compact inverted blocks, optionally with a large re-parameterised kernel. State-dict keys are the published ones.
"""

from __future__ import annotations

from torch import Tensor, nn

from regard.nn.c2f import C2f
from regard.nn.conv import Conv, SummedBranches


class SCDown(nn.Module):
    """Downsampling in two steps: a 1x1 convolution for the channels, a depth-wise one for the size.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: kernel of the depth-wise convolution.
        stride: its stride.
    """

    def __init__(
        self, in_channels: int, out_channels: int | None = None, kernel_size: int = 3, stride: int = 2
    ) -> None:
        super().__init__()
        self.out_channels = out = out_channels or in_channels
        self.cv1 = Conv(in_channels, out)
        self.cv2 = Conv(out, out, kernel_size, stride, groups=out, activation=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H / stride, W / stride)."""
        return self.cv2(self.cv1(x))


class RepVGGDW(SummedBranches):
    """A depth-wise 7x7 and a 3x3 convolution side by side, then SiLU (after RepVGG, 2101.03697).

    Args:
        channels: channels of the input and the output.
    """

    BRANCHES = ("conv", "conv1")

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Conv(channels, channels, 7, groups=channels, activation=False)
        self.conv1 = Conv(channels, channels, 3, groups=channels, activation=False)
        self.act = nn.SiLU()


class CIB(nn.Module):
    """Compact inverted block: depth-wise and point-wise convolutions in turn.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        shortcut: whether to add the input where the channels allow it.
        expansion: hidden channels as a fraction of the output's.
        large_kernel: whether the middle convolution is a `RepVGGDW` instead of 3x3.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        shortcut: bool = True,
        expansion: float = 0.5,
        large_kernel: bool = False,
    ) -> None:
        super().__init__()
        self.out_channels = out = out_channels or in_channels
        wide = 2 * int(out * expansion)
        self.cv1 = nn.Sequential(
            Conv(in_channels, in_channels, 3, groups=in_channels),
            Conv(in_channels, wide),
            RepVGGDW(wide) if large_kernel else Conv(wide, wide, 3, groups=wide),
            Conv(wide, out),
            Conv(out, out, 3, groups=out),
        )
        self.add = shortcut and in_channels == out

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H, W)."""
        y = self.cv1(x)
        return x + y if self.add else y


class C2fCIB(C2f):
    """C2f over compact inverted blocks.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        shortcut: whether the blocks add their input.
        large_kernel: whether they have a large kernel.
        groups: accepted for compatibility, without effect.
        expansion: channels of each half, as a fraction of the output's.
        repeats: blocks in the chain.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        shortcut: bool = False,
        large_kernel: bool = False,
        groups: int = 1,  # noqa: ARG002
        expansion: float = 0.5,
        *,
        repeats: int = 1,
    ) -> None:
        nn.Module.__init__(self)
        self._start(in_channels, out_channels or in_channels, expansion, repeats)
        blocks = (CIB(self.hidden, self.hidden, shortcut, 1.0, large_kernel) for _ in range(repeats))
        self.m = nn.ModuleList(blocks)
