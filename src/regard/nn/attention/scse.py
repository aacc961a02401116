"""Concurrent spatial and channel squeeze and excitation (Roy et al., scSE, 1803.02579, equations 2 to 4).

y_ci = x_ci s_c + x_ci p_i,  s = sigmoid(W1 relu(W2 mean(x))) by channel (cSE; see ``se.py``) and
p_i = sigmoid(w . x_i) by position (sSE, a 1 x 1 convolution). No biases, as in the paper.
"""

from __future__ import annotations

from torch import Tensor, nn

from regard.nn.attention.core import Card, Reweighting, check_at_least
from regard.nn.attention.se import SE


class ScSE(Reweighting):
    """One weight in 0..2 for each value: that of its channel plus that of its position.

    Args:
        in_channels: channels of the input and the output.
        reduction: channels per hidden unit of the weights by channel.

    Raises:
        RegardError: ``reduction`` is not positive.
    """

    card = Card(
        family="channel and spatial",
        paper="1803.02579",
        equation="y_ci = x_ci (sigmoid(W1 relu(W2 mean(x)))_c + sigmoid(w . x_i))",
        parameters="2 * C * hidden + C",
        flops="5 * C * N + 4 * C * hidden + C + hidden + N",
        peers=("timm.layers.SEModule for its weights by channel",),
    )

    def __init__(self, in_channels: int, reduction: int = 2) -> None:
        super().__init__(in_channels)
        check_at_least("ScSE", "reduction", reduction, 1)
        self.cse = SE(in_channels, reduction)
        self.sse = nn.Conv2d(in_channels, 1, 1, bias=False)
        self.hidden = self.cse.hidden
        self.note = self.cse.note

    def weights(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        by_position: Tensor = self.sse(x).sigmoid()
        return self.cse.weights(x)[:, :, None, None] + by_position
