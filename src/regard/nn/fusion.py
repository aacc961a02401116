"""Weighted fusion of feature maps (Tan et al., EfficientDet, 1911.09070, section 3.3, fast normalised fusion).

y = sum_i w_i x_i / (epsilon + sum_j w_j) with w = relu(learned numbers), one per map. The published form sums the maps;
model files also concatenate the weighted maps. Then a convolution follows, which is a row of its own here, or with
``convolve`` a 1 x 1 convolution behind SiLU, the paper's swish.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from regard.errors import RegardError
from regard.nn.join import join


class BiFPN(nn.Module):
    """Maps of one size, weighted by learned numbers and then summed or concatenated.

    Args:
        in_channels: channels of each input; equal for a sum.
        mode: "sum" or "concat".
        convolve: whether SiLU and a 1 x 1 convolution follow.
        epsilon: added to the sum of the weights.

    Raises:
        RegardError: maps of different channels are to be summed, or ``mode`` is unknown.
    """

    multi_input: ClassVar[bool] = True
    requires_same_size: ClassVar[bool] = True

    def __init__(
        self,
        in_channels: Sequence[int],
        mode: Literal["sum", "concat"] = "sum",
        convolve: bool = False,
        epsilon: float = 1e-4,
    ) -> None:
        super().__init__()
        if mode not in ("sum", "concat"):
            raise RegardError(f"BiFPN: mode is {mode!r}", expected="'sum' or 'concat'")
        if mode == "sum" and len(set(in_channels)) > 1:
            channels = ", ".join(map(str, in_channels))
            raise RegardError(f"BiFPN: a sum of {channels} channels", expected="equal channels, or mode: concat")
        self.mode, self.epsilon = mode, epsilon
        self.out_channels = in_channels[0] if mode == "sum" else sum(in_channels)
        self.w = nn.Parameter(torch.ones(len(in_channels)))
        self.conv = nn.Conv2d(self.out_channels, self.out_channels, 1) if convolve else None

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """[(B, C_i, H, W)] -> (B, out_channels, H, W)."""
        positive = self.w.relu()
        weights = positive / (positive.sum() + self.epsilon)
        weighted = [x * weight for x, weight in zip(maps, weights.unbind(), strict=True)]
        y = torch.stack(weighted).sum(0) if self.mode == "sum" else join(weighted)
        return y if self.conv is None else self.conv(nn.functional.silu(y))
