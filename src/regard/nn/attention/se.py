"""Squeeze-and-Excitation (Hu et al., 1709.01507, equations 2 to 4).

z_c = mean over positions of x_c;  s = sigmoid(W2 relu(W1 z));  y_c = s_c x_c,
with W1 of shape (C / r, C) and W2 of shape (C, C / r).

Deviations: no biases, as in the authors' code and in the class that tutorials paste into YOLOv5, whose parameter
names (``l1.weight``, ``l2.weight``) are kept so that checkpoints of such models load. Where C < r there is one
hidden unit; with none the gate would be a constant 0.5.
"""

from __future__ import annotations

from torch import Tensor, nn

from regard.errors import RegardError
from regard.nn.attention.base import Attention
from regard.nn.attention.card import Card
from regard.types import AttentionMap


class SE(Attention):
    """One weight in 0..1 a channel, from the mean of every channel.

    Args:
        in_channels: channels of the input and the output.
        ratio: channels per hidden unit.

    Raises:
        RegardError: ``ratio`` is not positive.
    """

    card = Card(
        family="channel",
        paper="1709.01507",
        equation="y_c = x_c sigmoid(W2 relu(W1 mean(x)))_c",
        parameters="2 * C * hidden",
        flops="2 * C * N + 4 * C * hidden + C + hidden",
        peers=("timm.layers.SEModule", "torchvision.ops.SqueezeExcitation"),
    )

    def __init__(self, in_channels: int, ratio: int = 16) -> None:
        super().__init__(in_channels)
        if ratio < 1:
            raise RegardError(f"SE: ratio {ratio} is not positive", expected="a whole number of channels per unit")
        self.hidden = max(1, in_channels // ratio)
        if in_channels < ratio:
            self.note = f"{in_channels} channels at ratio {ratio}: one hidden unit"
        self.l1 = nn.Linear(in_channels, self.hidden, bias=False)
        self.l2 = nn.Linear(self.hidden, in_channels, bias=False)

    def weights(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C), the excitation s."""
        return self.l2(self.l1(x.mean((2, 3))).relu()).sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return x * self.weights(x)[:, :, None, None]

    def attention(self, x: Tensor, query: tuple[int, int] | None = None) -> AttentionMap:  # noqa: ARG002
        """Return the weight of each channel; the same for every query."""
        return AttentionMap("channel", self.weights(x))

    def flops(self, height: int, width: int) -> int:
        """Return C (2 H W) for squeeze and scale, 4 C hidden for the two layers, and the activations."""
        return self.in_channels * (2 * height * width + 4 * self.hidden + 1) + self.hidden

    def saved_elements(self, height: int, width: int) -> int:
        """Return the input, kept for the product with the weights, and the small layers' values."""
        return self.in_channels * (height * width + 3) + self.hidden
