"""Global context block (Cao et al., 1904.11492, equation 5): non-local attention with one row for all queries.

alpha_j = softmax_j(W_k x_j);  z = W_v2 relu(LN(W_v1 sum_j alpha_j x_j));  y_i = x_i + z  ("add", as in the paper),
or y_i = x_i sigmoid(z)  ("scale", a variant). With "add" the block contains a residual connection.

Deviations: W_v2 does not start at 0, as it does in the authors' code: behind the closed gate of an insertion, a block
that starts as the identity would give the gate no gradient, nor the gate the block. There are at least 8 hidden
units, where the paper has C / r: a layer norm over one is constant, and over two it keeps no more than a sign.
"""

from __future__ import annotations

from torch import Tensor, nn

from regard.nn.attention.core import Attention, Card, check_at_least, check_choice
from regard.types import AttentionMap

MINIMUM = 8
"""Fewest hidden units."""

FUSIONS = ("add", "scale")


class GlobalContext(Attention):
    """Sum of all positions, weighted by one learned map, transformed by an MLP and given to every position.

    Args:
        in_channels: channels of the input and the output.
        reduction: channels per hidden unit; at least 8 hidden units remain.
        fusion: "add" or "scale", how the context reaches the positions.

    Raises:
        RegardError: ``reduction`` is not positive, or ``fusion`` is unknown.
    """

    card = Card(
        family="channel and spatial",
        paper="1904.11492",
        equation="y_i = x_i + W_v2 relu(LN(W_v1 sum_j softmax_j(W_k x_j) x_j))",
        parameters="2 * C * hidden + 2 * C + 1 + 3 * hidden",
        flops="5 * C * N + 4 * C * hidden + hidden",
        peers=("timm.layers.GlobalContext",),
        when="When the same global context vector should be added to all positions, which costs N instead of the N^2"
        " of a non-local block.",
    )

    def __init__(self, in_channels: int, reduction: int = 16, fusion: str = "add") -> None:
        super().__init__(in_channels)
        check_at_least("GlobalContext", "reduction", reduction, 1)
        check_choice("GlobalContext", "fusion", fusion, FUSIONS)
        self.hidden = max(MINIMUM, in_channels // reduction)
        self.fusion = fusion
        self.w_k = nn.Conv2d(in_channels, 1, 1)
        self.w_v1 = nn.Linear(in_channels, self.hidden)
        self.norm = nn.LayerNorm(self.hidden)
        self.w_v2 = nn.Linear(self.hidden, in_channels)

    def weights(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> alpha, (B, H * W); a row sums to 1."""
        return self.w_k(x).flatten(1).softmax(-1)

    def context(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> z, (B, C)."""
        pooled = (x.flatten(2) @ self.weights(x)[:, :, None])[:, :, 0]
        return self.w_v2(self.norm(self.w_v1(pooled)).relu())

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        context = self.context(x)[:, :, None, None]
        return x + context if self.fusion == "add" else x * context.sigmoid()

    def attention(self, x: Tensor, query: tuple[int, int] | None = None) -> AttentionMap:  # noqa: ARG002
        """Alpha, how much each position gives to the context; the same for every query."""
        return AttentionMap("spatial", self.weights(x).reshape(-1, *x.shape[2:]))
