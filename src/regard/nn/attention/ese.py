"""Effective squeeze-and-excitation (Lee and Park, 1911.06667, section 3.2, equation 3).

z_c = mean over positions of x_c;  y_c = x_c sigmoid(W z + b)_c, with W of shape (C, C): one layer where SE has two,
so that no channel is lost to a narrow middle.

The authors' code has the hard sigmoid, relu6(s + 3) / 6, in place of the paper's sigmoid; ``gate`` gives it.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from regard.nn.attention.core import Card, Reweighting, check_choice

GATES = ("sigmoid", "hard_sigmoid")


class ESE(Reweighting):
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
