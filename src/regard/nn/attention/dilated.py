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
        """(B, heads, N, d) each -> (B, heads, N, d); heads of the same dilation run together."""
        heads = range(self.num_heads)
        order = [h for first in heads[: self.scales] for h in heads[first :: self.scales]]
        mixed = [
            self.at_dilation(q[:, s :: self.scales], k[:, s :: self.scales], v[:, s :: self.scales], s + 1, size)
            for s in heads[: self.scales]
        ]
        return torch.cat(mixed, 1)[:, [order.index(h) for h in heads]]

    def at_dilation(self, q: Tensor, k: Tensor, v: Tensor, dilation: int, size: Size) -> Tensor:
        """(B, some heads, N, d) each -> the same."""
        keys, values = (torch.stack(list(self.shifted(t, dilation, size)), 3) for t in (k, v))  # (B, heads, N, k^2, d)
        on_map = torch.ones_like(k[:1, :1, :, :1])
        inside = torch.stack(list(self.shifted(on_map, dilation, size)), 3)[..., 0] > 0
        scores = (q[..., None, :] @ keys.mT)[..., 0, :] / math.sqrt(q.shape[-1])
        weights = scores.masked_fill(~inside, -math.inf).softmax(-1)
        return (weights[..., None, :].to(v.dtype) @ values)[..., 0, :]

    def shifted(self, tokens: Tensor, dilation: int, size: Size) -> Iterator[Tensor]:
        """What stands at each place of the square around every position, zeros outside of the map.

        (B, heads, N, d) -> k^2 times the same.
        """
        maps = tokens.reshape(*tokens.shape[:2], *size, tokens.shape[-1])
        return (place.flatten(2, 3) for place in places_around(maps, self.kernel, dilation, rows=2))

    def attention_mask(self, query: Size, size: Size) -> Tensor:
        """Positions that ``query`` sees on a map of ``size``: (heads, H, W), boolean."""
        dilation = torch.arange(self.num_heads)[:, None] % self.scales + 1
        rows, columns = (torch.arange(n) - at for n, at in zip(size, query, strict=True))
        seen = [(o.abs() <= self.kernel // 2 * dilation) & (o % dilation == 0) for o in (rows, columns)]
        return seen[0][:, :, None] & seen[1][:, None]
