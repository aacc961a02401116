"""Gated channel transformation (Yang et al., 1909.11519, equations 1 to 4).

s_c = alpha_c sqrt(sum over positions of x_c^2 + e);  r_c = s_c / sqrt(mean over channels of s^2 + e);
y_c = x_c (1 + tanh(gamma_c r_c + beta_c)): positive gamma lets channels compete, negative gamma lets them cooperate.

Deviations: the paper's r_c has sqrt(C) and a sum over channels; the same, but for e. gamma starts from normal values of
deviation 0.3 unless ``zero_start`` is set; the paper starts it at 0, so that the block begins as the identity. Behind
the closed gate of an insertion such a block could not learn: neither the gate nor gamma would get any gradient.
Half-precision input is weighed in float32, since sums of squares overflow.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regard.errors import RegardError
from regard.nn.attention.core import Card, Reweighting
from regard.nn.precision import at_least_float32

EPSILON = 1e-5
"""Value added below both roots."""

START = 0.3
"""Standard deviation of what gamma starts from."""


class GCT(Reweighting):
    """One weight in 0..2 per channel, from its norm among those of all channels; three parameters per channel.

    Args:
        in_channels: channels of the input and the output; at least 2, as channels compete.
        zero_start: whether gamma starts at zero, as in the paper; for use without a gate.

    Raises:
        RegardError: there is one channel, whose weight would be a constant.
    """

    card = Card(
        family="channel",
        paper="1909.11519",
        equation="y_c = x_c (1 + tanh(gamma_c s_c / rms(s) + beta_c)), s_c = alpha_c |x_c|",
        parameters="3 * C",
        flops="3 * C * N + 9 * C + 1",
        peers=("its definition, by loops",),
        when="When channels should compete by their norms, with three parameters per channel and no layer across"
        " channels.",
    )

    def __init__(self, in_channels: int, zero_start: bool = False) -> None:
        super().__init__(in_channels)
        if in_channels < 2:
            what = f"GCT: {in_channels} channel has no other to be compared with, its weight would be a constant"
            raise RegardError(what, expected="2 channels or more")
        self.alpha = nn.Parameter(torch.ones(in_channels))
        self.gamma = nn.Parameter(torch.zeros(in_channels) if zero_start else START * torch.randn(in_channels))
        self.beta = nn.Parameter(torch.zeros(in_channels))
        if zero_start:
            self.note = "starts as the identity: behind a closed gate it would never learn"

    def weights(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C), in float32 at least."""
        wide = at_least_float32(x)
        norms = self.alpha * (wide.square().sum((2, 3)) + EPSILON).sqrt()
        among = norms / (norms.square().mean(1, keepdim=True) + EPSILON).sqrt()
        return 1 + (self.gamma * among + self.beta).tanh()
