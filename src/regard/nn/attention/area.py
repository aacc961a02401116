"""Area attention (Tian et al., YOLOv12, 2502.12524, section 3.2), written from the paper.

The map of (H, W) is cut into l equal stretches, horizontal (H / l, W) or vertical (H, W / l), by a mere reshape;
attention stays inside a stretch: b_i = W_o [sum_{j in area(i)} softmax_j(q_i . k_j / sqrt(d)) v_j + P(v)_i], where P,
the paper's "position perceiver", is a 7 x 7 separable convolution of the values of the whole map.

Deviations: a stretch has ceil(H / l) rows, and the last ones are shorter, or missing, where l does not divide H. Of
the separable convolution only the depth-wise half is here, as W_o follows at once; it has no bias, as W_v has one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from regard.nn.attention.core import Card, Size, ceil_div, check_at_least, check_choice
from regard.nn.attention.multi_head import ValueConvolution
from regard.nn.attention.partition import Axis, attend
from regard.nn.attention.position import check_pos_embed

DIRECTIONS = ("horizontal", "vertical")


class AreaAttention(ValueConvolution):
    """Attention inside each of a few stretches of the map, and a depth-wise convolution of the values.

    ``attention`` gives the softmax weights; what the convolution adds depends on no query.

    Args:
        in_channels: channels of the input and the output; a multiple of ``num_heads``.
        num_heads: number of heads, each of ``in_channels / num_heads`` channels.
        areas: number of stretches; 1 is attention to the whole map.
        kernel: odd side of the convolution of the values; 0 for none.
        direction: "horizontal" stretches are as wide as the map, "vertical" ones as high.
        pos_embed: kind of position, see ``POSITIONS``; not relative.
    """

    card = Card(
        family="sparse",
        paper="2502.12524",
        equation="b_i = W_o [sum_{j in area(i)} softmax_j(q_hi . k_hj / sqrt(d)) v_hj + (P * v)_i]",
        parameters="4 * C**2 + 4 * C + kernel**2 * C",
        flops="8 * N * C**2 + (2 * kernel**2 + 1) * C * N + 4 * C * areas * (ceiling(H / areas) * W)**2",
        peers=("attention under an explicit mask",),
        when="When global attention should cost a fraction without windows of fixed size: each area is a stretch of"
        " the map, so the cost is N^2 divided by the number of areas.",
        linear=False,
    )

    def __init__(
        self,
        in_channels: int,
        num_heads: int = 4,
        areas: int = 4,
        kernel: int = 7,
        direction: str = "horizontal",
        pos_embed: str = "none",
    ) -> None:
        check_pos_embed("AreaAttention", pos_embed)
        check_at_least("AreaAttention", "areas", areas, 1)
        check_choice("AreaAttention", "direction", direction, DIRECTIONS)
        super().__init__(in_channels, num_heads, kernel, pos_embed)
        self.areas = areas
        self.direction = direction

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:
        """(B, heads, N, d) each -> (B, heads, N, d), the attention alone."""
        thick, _ = self._area(size)
        axis = DIRECTIONS.index(self.direction)
        stretches = Axis.blocks(size[axis], thick, self.areas, q.device)
        along = Axis.whole(size[1 - axis], q.device)
        return attend(q, k, v, *((along, stretches) if axis else (stretches, along)))

    def _area(self, size: Size) -> Size:
        """Sides of an area: across the stretch, and along it."""
        height, width = size
        if self.direction == "vertical":
            return ceil_div(width, self.areas), height
        return ceil_div(height, self.areas), width

    def attention_mask(self, query: Size, size: Size) -> Tensor:
        """What ``query`` sees: (H, W), boolean."""
        thick, _ = self._area(size)
        axis = DIRECTIONS.index(self.direction)
        same = torch.arange(size[axis]) // thick == query[axis] // thick
        return (same[:, None] if axis == 0 else same).expand(size)
