"""Effective squeeze-and-excitation (Lee and Park, 1911.06667, section 3.2, equation 3).

z_c = mean over positions of x_c;  y_c = x_c sigmoid(W z + b)_c, with W of shape (C, C): one layer where SE has two,
so that no channel is lost to a narrow middle.

The authors' code has the hard sigmoid, relu6(s + 3) / 6, in place of the paper's sigmoid; ``gate`` gives it.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from regard.nn.attention.base import Attention
from regard.nn.attention.card import Card
from regard.nn.attention.options import check_choice
from regard.types import AttentionMap

GATES = ("sigmoid", "hard_sigmoid")


class ESE(Attention):
    """One weight in 0..1 a channel, from the means of all channels by one full matrix.

    Args:
        in_channels: channels of the input and the output.
        gate: "sigmoid" or "hard_sigmoid".

    Raises:
        RegardError: ``gate`` is unknown.
    """

    card = Card(
        family="channel",
        paper="1911.06667",
        equation="y_c = x_c sigmoid(W mean(x) + b)_c",
        parameters="C**2 + C",
        flops="2 * C * N + 2 * C**2 + C",
        peers=("timm.layers.EffectiveSEModule",),
    )

    def __init__(self, in_channels: int, gate: str = "sigmoid") -> None:
        super().__init__(in_channels)
        check_choice("ESE", "gate", gate, GATES)
        self.gate = gate
        self.fc = nn.Linear(in_channels, in_channels)

    def weights(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C)."""
        scores: Tensor = self.fc(x.mean((2, 3)))
        return scores.sigmoid() if self.gate == "sigmoid" else F.hardsigmoid(scores)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return x * self.weights(x)[:, :, None, None]

    def attention(self, x: Tensor, query: tuple[int, int] | None = None) -> AttentionMap:  # noqa: ARG002
        """Return the weight of each channel; the same for every query."""
        return AttentionMap("channel", self.weights(x))

    def flops(self, height: int, width: int) -> int:
        """Return C (2 H W) for mean and scale, 2 C^2 for the matrix, and the gate."""
        return self.in_channels * (2 * height * width + 2 * self.in_channels + 1)

    def saved_elements(self, height: int, width: int) -> int:
        """Return the input, kept for the product with the weights, the means and the weights."""
        return self.in_channels * (height * width + 2)
