"""Attention within windows, plain and shifted by half a side (Liu et al., 2103.14030, section 3.2 and equation 4).

b_i = sum over j in the window of i of softmax_j(q_i . k_j / sqrt(d) + B(i, j)) v_j.

The map is cut into windows of k x k that do not overlap. In the shifted form the map is first rolled by k // 2
against both axes, so that windows straddle the borders of the plain form, and what was rolled round is kept apart
by a mask. Along an axis no longer than a window there is nothing to straddle, and no shift. B is a learned bias for
each head and offset of key from query.

Deviations: B is there with positions "relative" only, and its table runs over the offset of key from query; Swin's
runs over the opposite. On maps that windows do not divide, what is filled up gets a weight of exactly zero. Swin fills
up with zeros, which take part as keys (of the bias of their projection): in windows that are not full the two differ.
The mask excludes what it masks, where Swin subtracts 100.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from regard.nn.attention.core import Card, ceil_div, check_at_least, least
from regard.nn.attention.partition import Axis, PartitionedAttention


class WindowAttention(PartitionedAttention):
    """Attention within windows of ``window`` x ``window`` that do not overlap.

    Args:
        in_channels, num_heads: as for `MultiHead`.
        window: side of a window.
        pos_embed: kind of position, see ``POSITIONS``; "relative" is Swin's bias.

    Raises:
        RegardError: ``window`` is not positive, or as for every ``MultiHead``.
    """

    card = Card(
        family="local",
        paper="2103.14030",
        equation="b_i = sum over j in the window of i of softmax_j(q_i . k_j / sqrt(d) + B(i, j)) v_j",
        parameters="4 * C**2 + 4 * C",
        flops="8 * N * C**2 + 4 * C * ceiling(H / window) * ceiling(W / window) * window**4",
        peers=("torchvision.models.swin_transformer.ShiftedWindowAttention", "timm WindowAttention"),
        when="When attention within fixed windows is enough; the cost grows linearly with N, and nothing crosses the"
        " edge of a window.",
    )

    def __init__(self, in_channels: int, num_heads: int = 4, window: int = 7, pos_embed: str = "none") -> None:
        check_at_least("WindowAttention", "window", window, 1)
        super().__init__(in_channels, num_heads, pos_embed, reach=window - 1)
        self.window = window
        self.shift = 0

    def sees(self, query: int, n: int) -> Tensor:
        """What a query sees on an axis of ``n`` positions: (n,), boolean."""
        shift = self.shift if n > self.window else 0
        return (torch.arange(n) - shift) // self.window == (query - shift) // self.window

    def axis(self, n: int, device: torch.device) -> Axis:
        """Divide an axis of ``n`` positions."""
        end = ceil_div(n, self.window) * self.window
        shift = self.shift * least((n - 1) // self.window, 1)  # none where one window covers the axis
        slots = torch.arange(end, device=device)
        rolled = torch.where(slots < end - shift, slots + shift, slots + shift - end)
        region = (rolled - shift + self.window) // self.window  # what is rolled round falls into region 0
        real = rolled < n
        places, region, real = (t.view(-1, self.window) for t in (rolled.clamp(max=n - 1), region, real))
        # Padding attends to all real positions: a query that attends to nothing would have no softmax.
        seen = real[:, None] & ((region[:, :, None] == region[:, None]) | ~real[:, :, None])
        positions = slots[:n]
        back = torch.where(positions < shift, positions - shift + end, positions - shift)
        return Axis.of(places, places, seen, back)


class ShiftedWindowAttention(WindowAttention):
    """Attention within windows that are shifted by half a side; see `WindowAttention` for the options."""

    card = replace(
        WindowAttention.card,
        equation="b_i = sum over j in the shifted window of i of softmax_j(q_i . k_j / sqrt(d) + B(i, j)) v_j",
        peers=("torchvision.models.swin_transformer.ShiftedWindowAttention",),
        when="When a second layer should join what WindowAttention keeps apart: the windows are shifted by half of"
        " their side, at the same cost.",
    )

    def __init__(self, in_channels: int, num_heads: int = 4, window: int = 7, pos_embed: str = "none") -> None:
        super().__init__(in_channels, num_heads, window, pos_embed)
        self.shift = window // 2
