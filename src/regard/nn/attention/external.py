"""External attention (Guo et al., 2105.02358, equations 5 to 9): keys and values are learned, the same for all images.

b_i = sum_s a_is M_v,s,  a_is = e_is / sum_t e_it,  e_is = softmax over positions i of (x_i . M_k,s): a memory of S
units, normalised first over positions, then over units ("double normalisation"). Positions do not meet but in the first
of these; cost grows with N alone.

``attention`` shows e, which positions each unit of the memory attends to, the same for every query.
"""

from __future__ import annotations

from torch import Tensor, nn

from regard.nn.attention.core import Attention, Card, Size, check_at_least, check_query, to_map, to_tokens
from regard.nn.precision import at_least_float32
from regard.types import AttentionMap


class ExternalAttention(Attention):
    """Every position is rebuilt from a learned memory that belongs to no image.

    Args:
        in_channels: channels of the input and the output.
        memory: S, number of units; 64 in the paper.

    Raises:
        RegardError: ``memory`` is less than 2.
    """

    card = Card(
        family="low-rank",
        paper="2105.02358",
        equation="b_i = sum_s a_is M_vs, a_is = e_is / sum_t e_it, e_is = softmax_i(x_i . M_ks)",
        parameters="2 * C * memory",
        flops="4 * N * C * memory + 2 * N * memory",
        peers=("its definition, by loops",),
        when="When positions should be rebuilt from a memory learned over the whole data set; positions are not"
        " compared, and the cost grows linearly with N.",
    )

    def __init__(self, in_channels: int, memory: int = 64) -> None:
        super().__init__(in_channels)
        check_at_least("ExternalAttention", "memory", memory, 2)
        self.memory = memory
        self.keys = nn.Linear(in_channels, memory, bias=False)
        self.values = nn.Linear(memory, in_channels, bias=False)

    def by_position(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> e, (B, H * W, S), in float32 at least."""
        scores: Tensor = self.keys(to_tokens(x))
        return at_least_float32(scores).softmax(1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        shares = self.by_position(x)
        weights = shares / shares.sum(-1, keepdim=True).clamp(min=1e-30)
        return to_map(self.values(weights.to(x.dtype)), (x.shape[2], x.shape[3]))

    def attention(self, x: Tensor, query: Size | None = None) -> AttentionMap:
        """What each unit of the memory attends to: (B, S, 1, H, W)."""
        place = check_query(query, (x.shape[2], x.shape[3]))
        weights = self.by_position(x).mT.unsqueeze(2)
        return AttentionMap("rows", weights.reshape(*weights.shape[:3], *x.shape[2:]), (place,))
