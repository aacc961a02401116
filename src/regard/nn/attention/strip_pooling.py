"""Strip pooling (Hou et al., 2003.13328, section 3.1, equations 2 to 4): means of whole rows and whole columns.

y = x sigmoid(W (r_i + s_j)),  r = conv_3(mean over columns of x), s = conv_3(mean over rows of x), convolutions in one
dimension over all channels, W a 1 x 1 convolution.

Deviation: the authors' code puts batch norms behind the convolutions and adds two more; this is the module of the
equations.
"""

from __future__ import annotations

from torch import Tensor, nn

from regard.nn.attention.core import Card, Reweighting


class StripPooling(Reweighting):
    """One weight in 0..1 per value, from the means of the row and the column that cross at its position.

    Args:
        in_channels: channels of the input and the output.
    """

    card = Card(
        family="channel and spatial",
        paper="2003.13328",
        equation="y(i, j) = x(i, j) sigmoid(W (conv(mean of rows)_i + conv(mean of columns)_j))",
        parameters="7 * C**2 + 3 * C",
        flops="5 * C * N + 2 * N * C**2 + 6 * C**2 * (H + W)",
        peers=("its definition, by loops",),
        when="When the weight of a position should depend on its whole row and its whole column, with all channels"
        " joined.",
    )

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        self.rows = nn.Conv1d(in_channels, in_channels, 3, padding=1)
        self.columns = nn.Conv1d(in_channels, in_channels, 3, padding=1)
        self.out = nn.Conv2d(in_channels, in_channels, 1)

    def weights(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        strips = self.rows(x.mean(3))[:, :, :, None] + self.columns(x.mean(2))[:, :, None]
        weights: Tensor = self.out(strips)
        return weights.sigmoid()
