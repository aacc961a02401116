"""Multi-scale dilated attention (Jiao et al., DilateFormer, 2302.01791, equations 1 to 4): heads of different dilation.

b_i = W_o [sum over the k x k positions j that stand r_h apart around i of softmax_j(q_i . k_j / sqrt(d)) v_j]: head h
has the dilation r_h, 1, 2, ... in turn, so that the heads together see near and far at the cost of the nearest.

Deviations: keys outside of the map get no weight, where the authors' code gives them a score of 0 and a value of 0.
Queries, keys and values come from linear layers with biases, as everywhere here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from regard.nn.attention.core import Card, Size, check_at_least, check_odd
from regard.nn.attention.multi_head import MultiHead
from regard.nn.attention.position import check_pos_embed
from regard.nn.attention.square import places_around


class MultiScaleDilatedAttention(MultiHead):
    """Attention to the ``kernel`` x ``kernel`` positions around each, from head to head further apart.

    Args:
        in_channels, num_heads: as for `MultiHead`.
        kernel: side of the square in steps of the dilation, odd.
        scales: number of dilations, 1 .. ``scales``; head h has the dilation 1 + h mod ``scales``.
        pos_embed: kind of position, see ``POSITIONS``; not relative.

    Raises:
        RegardError: ``kernel`` is not odd and positive, ``scales`` not positive, or as for every ``MultiHead``.
    """

    card = Card(
        family="sparse",
        paper="2302.01791",
        equation="b_i = W_o [sum over k x k positions, r_h apart, of softmax_j(q_i . k_j / sqrt(d)) v_j], r_h = 1, 2..",
        parameters="4 * C**2 + 4 * C",
        flops="8 * N * C**2 + 4 * N * C * kernel**2",
        peers=("attention under an explicit mask",),
        when="When heads should see near and far neighbours at the cost of the nearest; the cost grows linearly with"
        " N.",
    )

    def __init__(
        self, in_channels: int, num_heads: int = 4, kernel: int = 3, scales: int = 4, pos_embed: str = "none"
    ) -> None:
        check_pos_embed("MultiScaleDilatedAttention", pos_embed)
        check_odd("MultiScaleDilatedAttention", "kernel", kernel)
        check_at_least("MultiScaleDilatedAttention", "scales", scales, 1)
        super().__init__(in_channels, num_heads, pos_embed)
        self.kernel = kernel
        self.scales = scales

    def mix(self, q: Tensor, k: Tensor, v: Tensor, size: Size) -> Tensor:
        """(B, heads, N, d) each -> (B, heads, N, d)."""
        mixed = [self.one_head(q[:, h], k[:, h], v[:, h], 1 + h % self.scales, size) for h in range(self.num_heads)]
        return torch.stack(mixed, 1)

    def one_head(self, q: Tensor, k: Tensor, v: Tensor, dilation: int, size: Size) -> Tensor:
        """(B, N, d) each -> (B, N, d)."""
        keys = torch.stack(list(self.shifted(k, dilation, size)), 2)  # (B, N, k^2, d)
        inside = torch.stack(list(self.shifted(torch.ones_like(k[:1, :, :1]), dilation, size)), 2)[..., 0] > 0
        scores = (q[:, :, None] @ keys.mT)[:, :, 0] / math.sqrt(q.shape[-1])
        weights = scores.masked_fill(~inside, -math.inf).softmax(-1)
        values = torch.stack(list(self.shifted(v, dilation, size)), 2)
        return (weights[:, :, None].to(v.dtype) @ values)[:, :, 0]

    def shifted(self, tokens: Tensor, dilation: int, size: Size) -> Iterator[Tensor]:
        """What stands at each place of the square around every position, zeros outside of the map: k^2 x (B, N, d)."""
        maps = tokens.view(tokens.shape[0], *size, tokens.shape[-1])
        return (place.flatten(1, 2) for place in places_around(maps, self.kernel, dilation, rows=1))

    def attention_mask(self, query: Size, size: Size) -> Tensor:
        """Positions that ``query`` sees on a map of ``size``: (heads, H, W), boolean."""
        (row, column), (height, width) = query, size
        seen = torch.zeros(self.num_heads, height, width, dtype=torch.bool)
        for head in range(self.num_heads):
            dilation = 1 + head % self.scales
            far = self.kernel // 2
            for i in range(-far, far + 1):
                for j in range(-far, far + 1):
                    at = (row + i * dilation, column + j * dilation)
                    if 0 <= at[0] < height and 0 <= at[1] < width:
                        seen[head, at[0], at[1]] = True
        return seen
