"""Large selective kernel (Li et al., LSKNet, 2303.09030, sections 3.2 and 3.3): positions choose a field.

u_1 = conv_5x5(x), u_2 = conv_7x7 of dilation 3 (u_1), depth-wise, with fields of 5 and 23 positions; t_m = W_m u_m;
s = sigmoid(conv_7x7([mean over channels of t; max over channels of t])), one weight per position and field;
y = x (W (s_1 t_1 + s_2 t_2)), one weight per value, of any sign.

Only the LSK module: the block of the paper has projections around it and a feed-forward network behind it. As in
the authors' code, t_m have half of the channels. Where values are equal, the gradient of their maximum is shared
evenly among them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regard.nn.attention.core import Card, Reweighting


class LSK(Reweighting):
    """One weight per value from depth-wise convolutions of 5 x 5 and 23 x 23, between which each position chooses.

    Args:
        in_channels: channels of the input and the output.
    """

    card = Card(
        family="channel and spatial",
        paper="2303.09030",
        equation="y = x (W sum_m s_m t_m), t_m = W_m conv_m(x), s = sigmoid(conv([mean_c(t); max_c(t)]))",
        parameters="77 * C + 3 * C * hidden + 2 * hidden + 198",
        flops="N * (150 * C + 6 * C * hidden + 6 * hidden + 394)",
        peers=("its definition, position by position",),
        when="When positions should choose between fields of view of 5 and 23 positions.",
    )

    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        self.hidden = max(1, in_channels // 2)
        self.near = nn.Conv2d(in_channels, in_channels, 5, padding=2, groups=in_channels)
        self.far = nn.Conv2d(in_channels, in_channels, 7, padding=9, dilation=3, groups=in_channels)
        self.of_near, self.of_far = (nn.Conv2d(in_channels, self.hidden, 1) for _ in range(2))
        self.choose = nn.Conv2d(2, 2, 7, padding=3)
        self.out = nn.Conv2d(self.hidden, in_channels, 1)

    def weights(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        near = self.near(x)
        fields = torch.stack((self.of_near(near), self.of_far(self.far(near))), 1)  # (B, 2, C / 2, H, W)
        both = fields.flatten(1, 2)
        shares = self.choose(torch.cat((both.mean(1, keepdim=True), both.amax(1, keepdim=True)), 1)).sigmoid()
        weights: Tensor = self.out((fields * shares[:, :, None]).sum(1))
        return weights
