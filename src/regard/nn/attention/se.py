"""Squeeze-and-Excitation (Hu et al., 1709.01507, equations 2 to 4).

z_c = mean over positions of x_c;  s = sigmoid(W2 relu(W1 z));  y_c = s_c x_c,
with W1 of shape (C / r, C) and W2 of shape (C, C / r).

Deviations: no biases, as in the authors' code and in the class that tutorials paste into YOLOv5, whose parameter
names (``l1.weight``, ``l2.weight``) are kept so that checkpoints of such models load. Where C < r there is one
hidden unit; with none the gate would be a constant 0.5.

Effective squeeze-and-excitation (Lee and Park, 1911.06667, section 3.2, equation 3).

z_c = mean over positions of x_c;  y_c = x_c sigmoid(W z + b)_c, with W of shape (C, C): one layer where SE has two,
so that no channel is lost to a narrow middle.

The authors' code has the hard sigmoid, relu6(s + 3) / 6, in place of the paper's sigmoid; ``gate`` gives it.

Concurrent spatial and channel squeeze and excitation (Roy et al., scSE, 1803.02579, equations 2 to 4).

y_ci = x_ci s_c + x_ci p_i,  s = sigmoid(W1 relu(W2 mean(x))) by channel (cSE) and
p_i = sigmoid(w . x_i) by position (sSE, a 1 x 1 convolution). No biases, as in the paper.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from regard.nn.attention.core import Card, Reweighting, check_at_least, check_choice


class SE(Reweighting):
    """One weight in 0..1 per channel, from the mean of every channel.

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
        when="When the means of all channels over the image should decide how much each channel counts, for hardly"
        " any FLOPs.",
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


GATES = ("sigmoid", "hard_sigmoid")


class ESE(Reweighting):
    """One weight in 0..1 per channel, from the means of all channels by one full matrix.

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
        when="When SE is wanted without its narrow middle layer: one full matrix, whose parameters grow with C^2.",
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
        when="When a weight per channel, as in SE, and a weight per position should be added up in one module.",
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
