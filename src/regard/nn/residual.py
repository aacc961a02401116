"""Plain residual convolutions of any width, used as the capacity control of an attention module.

The bottleneck of ResNet (He et al., 1512.03385, figure 5, right): y = x + W3 f(W2 f(W1 x)), with W1 and W3 1x1
convolutions and W2 a 3x3 one on ``hidden`` channels. Deviations: SiLU for ReLU as everywhere in YOLOv5, and nothing
after the sum, so that behind a gate, y = x + gamma (f(x) - x), the layer adds gamma times its branch.
"""

from __future__ import annotations

from torch import Tensor, nn

from regard.errors import RegardError
from regard.nn.conv import Conv


class ResidualConvolutions(nn.Module):
    """1x1, 3x3 and 1x1 convolution, to whose result the input is added.

    Args:
        in_channels: channels of the input and the output.
        hidden: channels between the convolutions; a quarter of the input's if not given.

    Raises:
        RegardError: ``hidden`` is not positive.
    """

    def __init__(self, in_channels: int, hidden: int | None = None) -> None:
        super().__init__()
        if hidden is not None and hidden < 1:
            raise RegardError(f"ResidualConvolutions: hidden {hidden}", expected="a positive number of channels")
        self.out_channels = in_channels
        self.hidden = hidden or max(1, in_channels // 4)
        self.cv1 = Conv(in_channels, self.hidden)
        self.cv2 = Conv(self.hidden, self.hidden, 3)
        self.cv3 = Conv(self.hidden, in_channels, activation=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return x + self.cv3(self.cv2(self.cv1(x)))


def residual_parameters(channels: int, hidden: int) -> int:
    """Number of learned values of ``ResidualConvolutions``: three kernels and three batch norms."""
    return 2 * channels * hidden + 9 * hidden**2 + 2 * (2 * hidden + channels)


def residual_flops(channels: int, hidden: int, height: int, width: int) -> int:
    """Operations of the products of ``ResidualConvolutions`` for one map; a multiplication and a sum count as two."""
    return 2 * height * width * (2 * channels * hidden + 9 * hidden**2)
