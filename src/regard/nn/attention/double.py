"""Double attention (Chen et al., A2-Nets, 1810.11579, equations 2 to 4): gather vectors, hand them out.

b_i = W_o sum_n softmax_n(W_v x_i)_n g_n,  g_n = sum_j softmax_j(W_b x_j)_n W_a x_j: n maps gather one vector each, and
every position states its share of each. It is ``EfficientAttention`` with one head, and with as many maps as wanted
where that has as many as a value has channels. The implied weights sum to 1; cost grows with N alone.
"""

from __future__ import annotations

from torch import Tensor, nn

from regard.nn.attention.core import Attention, Card, Size, check_at_least, check_query, mixing, to_map, to_tokens
from regard.types import AttentionMap


class DoubleAttention(Attention):
    """Every position takes its share of the vectors that learned maps have gathered.

    Args:
        in_channels: channels of the input and the output.
        reduction: channels per channel of a gathered vector, and per map; 4 in the paper.

    Raises:
        RegardError: ``reduction`` is not positive.
    """

    card = Card(
        family="low-rank",
        paper="1810.11579",
        equation="b_i = W_o sum_n softmax_n(W_v x_i)_n sum_j softmax_j(W_b x_j)_n W_a x_j",
        parameters="4 * C * hidden + 3 * hidden + C",
        flops="8 * N * C * hidden + 4 * N * hidden**2",
        peers=("its definition, by loops",),
        when="When a few vectors gathered over the whole map should be handed out to all positions; the cost grows"
        " linearly with N.",
    )

    def __init__(self, in_channels: int, reduction: int = 4) -> None:
        super().__init__(in_channels)
        check_at_least("DoubleAttention", "reduction", reduction, 1)
        self.hidden = max(2, in_channels // reduction)  # the softmax over one map would be a constant
        self.features, self.gathering, self.sharing = (nn.Linear(in_channels, self.hidden) for _ in range(3))
        self.out = nn.Linear(self.hidden, in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        tokens = to_tokens(x)
        features, shares = self.features(tokens), self.sharing(tokens).softmax(-1)
        mixed = mixing(_mix, shares, self.gathering(tokens).softmax(1), features, without=features)
        return to_map(self.out(mixed), (x.shape[2], x.shape[3]))

    def attention(self, x: Tensor, query: Size | None = None) -> AttentionMap:
        """Implied weights of one query: (B, 1, 1, H, W)."""
        row, column = place = check_query(query, (x.shape[2], x.shape[3]))
        shares = self.sharing(x[:, :, row, column]).softmax(-1)
        weights = shares[:, None] @ self.gathering(to_tokens(x)).softmax(1).mT
        return AttentionMap("rows", weights.view(x.shape[0], 1, 1, *x.shape[2:]), (place,))


def _mix(shares: Tensor, gathering: Tensor, features: Tensor) -> Tensor:
    """(B, N, n), (B, N, n), (B, N, m) -> (B, N, m)."""
    return shares @ (gathering.mT @ features)
