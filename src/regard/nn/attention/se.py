"""Squeeze-and-Excitation (Hu et al., 1709.01507, equations 2 to 4).

z_c = mean over positions of x_c;  s = sigmoid(W2 relu(W1 z));  y_c = s_c x_c,
with W1 of shape (C / r, C) and W2 of shape (C, C / r).

Deviations: no biases, as in the authors' code and in the class that tutorials paste into YOLOv5, whose parameter
names (``l1.weight``, ``l2.weight``) are kept so that checkpoints of such models load. Where C < r there is one
hidden unit; with none the gate would be a constant 0.5.
"""

from __future__ import annotations

from torch import Tensor, nn

from regard.nn.attention.core import Card, Reweighting, check_at_least


class SE(Reweighting):
    """One weight in 0..1 a channel, from the mean of every channel.

    Args:
        in_channels: channels of the input and the output.
        reduction: channels per hidden unit.

    Raises:
        RegardError: ``reduction`` is not positive.
    """

    card = Card(
        family="channel",
        paper="1709.01507",
        equation="y_c = x_c sigmoid(W2 relu(W1 mean(x)))_c",
        parameters="2 * C * hidden",
        flops="2 * C * N + 4 * C * hidden + C + hidden",
        peers=("timm.layers.SEModule", "torchvision.ops.SqueezeExcitation"),
    )

    def __init__(self, in_channels: int, reduction: int = 16) -> None:
        super().__init__(in_channels)
        check_at_least("SE", "reduction", reduction, 1)
        self.hidden = max(1, in_channels // reduction)
        if in_channels < reduction:
            self.note = f"{in_channels} channels at reduction {reduction}: one hidden unit"
        self.l1 = nn.Linear(in_channels, self.hidden, bias=False)
        self.l2 = nn.Linear(self.hidden, in_channels, bias=False)

    def weights(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C), the excitation s."""
        return self.l2(self.l1(x.mean((2, 3))).relu()).sigmoid()
